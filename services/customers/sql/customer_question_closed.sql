-- params: tenant_id customer_id
UPDATE customers.customer SET open_questions = greatest(open_questions - 1, 0)
 WHERE tenant_id = $1::uuid AND id = $2::uuid;
