-- params: tenant_id customer_id
SELECT count(*) AS n FROM customers.contact WHERE tenant_id = $1::uuid AND customer_id = $2::uuid;
