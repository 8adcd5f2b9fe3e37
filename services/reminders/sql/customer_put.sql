-- params: tenant_id id name owner_id
INSERT INTO reminders.customer_ref (tenant_id, id, name, owner_id)
VALUES ($1::uuid, $2::uuid, $3::text, $4::uuid)
ON CONFLICT (tenant_id, id) DO UPDATE SET name = excluded.name, owner_id = excluded.owner_id
