-- params: tenant_id source id
SELECT id, customer_id, ref_source AS "external_ref.source", ref_id AS "external_ref.id", kind, ordered_at,
       amount_minor AS "amount.minor_units", currency_code AS "amount.currency_code", cancels_order_id
  FROM customers.sales_order
 WHERE tenant_id = $1::uuid AND ref_source = $2::text AND ref_id = $3::text;
