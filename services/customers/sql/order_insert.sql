-- params: tenant_id id customer_id external_ref.source external_ref.id kind ordered_at amount.minor_units amount.currency_code cancels_order_id
INSERT INTO customers.sales_order (tenant_id, id, customer_id, ref_source, ref_id, kind, ordered_at,
       amount_minor, currency_code, cancels_order_id)
VALUES ($1::uuid, $2::uuid, $3::uuid, $4::text, $5::text, $6::text, $7::timestamptz, $8::bigint,
       $9::text, $10::uuid);
