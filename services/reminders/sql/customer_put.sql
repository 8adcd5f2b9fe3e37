-- params: tenant_id id name owner_id
-- While nobody owns the customer, the one before stays: from him the duties go to the next (REM-18).
INSERT INTO reminders.customer_ref (tenant_id, id, name, owner_id)
VALUES ($1::uuid, $2::uuid, $3::text, $4::uuid)
ON CONFLICT (tenant_id, id)
DO UPDATE SET name = excluded.name, owner_id = coalesce(excluded.owner_id, customer_ref.owner_id)
