-- params: tenant_id id customer_id
SELECT kind FROM customers.sales_order
 WHERE tenant_id = $1::uuid AND id = $2::uuid AND customer_id = $3::uuid;
