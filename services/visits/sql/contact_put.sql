-- params: tenant_id id customer_id
INSERT INTO visits.contact (tenant_id, id, customer_id) VALUES ($1::uuid, $2::uuid, $3::uuid)
    ON CONFLICT (tenant_id, id) DO UPDATE SET customer_id = excluded.customer_id;
