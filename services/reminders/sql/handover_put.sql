-- params: tenant_id id customer_id to_id reason effective_us asked_at
-- Before customer_put: what the read model still holds is the owner of before.
INSERT INTO reminders.recalculation
       (tenant_id, id, policy_key, customer_id, from_id, to_id, reason, effective_us, asked_at, start_at)
SELECT $1::uuid, $2::uuid, '', c.id, c.owner_id, $4::uuid, $5::text, $6::bigint, $7::timestamptz,
       clock_timestamp()
  FROM reminders.customer_ref c
 WHERE c.tenant_id = $1::uuid AND c.id = $3::uuid AND c.owner_id <> $4::uuid
ON CONFLICT (tenant_id, id) DO NOTHING
