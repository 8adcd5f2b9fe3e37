-- params: tenant_id customer_id subject
SELECT true AS there FROM customers.foreign_event
 WHERE tenant_id = $1::uuid AND customer_id = $2::uuid AND kind = 'visit' AND subject = $3::text
 LIMIT 1;
