-- params: tenant_id id customer_id visit_id text owner_id promised_at due_at undated source unit_id
INSERT INTO visits.commitment (tenant_id, id, customer_id, visit_id, text, owner_id, promised_at,
       due_at, undated, source, unit_id, state, row_version)
VALUES ($1::uuid, $2::uuid, $3::uuid, $4::uuid, $5::text, $6::uuid, $7::timestamptz,
       $8::timestamptz, coalesce($9::boolean, false), nullif($10::text, ''), $11::uuid, 'open', 1);
