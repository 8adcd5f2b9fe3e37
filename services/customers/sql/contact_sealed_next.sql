-- params: tenant_id after sealed
SELECT id, phone_sealed AS first, email_sealed AS second
  FROM customers.contact
 WHERE tenant_id = $1::uuid AND id > $2::uuid
   AND (phone_sealed LIKE $3::text OR email_sealed LIKE $3::text)
 ORDER BY id
 LIMIT 200
