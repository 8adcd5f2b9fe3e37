-- params: tenant_id id
SELECT owner_id FROM customers.customer WHERE tenant_id = $1::uuid AND id = $2::uuid;
