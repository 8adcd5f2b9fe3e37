-- params: tenant_id customer_id to_id until_us
-- Before customer_put: what the read model still holds is the owner of before.
INSERT INTO reminders.former_owner (tenant_id, customer_id, owner_id, until_us)
SELECT $1::uuid, c.id, c.owner_id, $4::bigint
  FROM reminders.customer_ref c
 WHERE c.tenant_id = $1::uuid AND c.id = $2::uuid AND c.owner_id <> $3::uuid
ON CONFLICT (tenant_id, customer_id, owner_id)
DO UPDATE SET until_us = GREATEST(former_owner.until_us, excluded.until_us)
