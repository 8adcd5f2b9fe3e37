-- params: tenant_id id customer_id external_ref.source external_ref.id paid_at amount.minor_units amount.currency_code order_id
INSERT INTO customers.payment (tenant_id, id, customer_id, ref_source, ref_id, paid_at, amount_minor,
       currency_code, order_id)
VALUES ($1::uuid, $2::uuid, $3::uuid, $4::text, $5::text, $6::timestamptz, $7::bigint, $8::text,
       $9::uuid);
