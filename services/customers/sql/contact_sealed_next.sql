-- params: tenant_id after
SELECT id, phone_sealed AS first, email_sealed AS second
  FROM customers.contact
 WHERE tenant_id = $1::uuid AND id > $2::uuid
 ORDER BY id
 LIMIT 1000
