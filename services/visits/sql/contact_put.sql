-- params: tenant_id id customer_id position phone
INSERT INTO visits.contact (tenant_id, id, customer_id, position, phone)
VALUES ($1::uuid, $2::uuid, $3::uuid, $4::text, $5::text)
    ON CONFLICT (tenant_id, id) DO UPDATE
   SET customer_id = excluded.customer_id, position = excluded.position, phone = excluded.phone;
