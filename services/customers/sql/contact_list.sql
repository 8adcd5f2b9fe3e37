-- params: tenant_id customer_id
SELECT id, customer_id, name, position, decision_role, phone_masked AS phone,
       email_masked AS email, birthday, phone_sealed AS _phone_sealed, email_sealed AS _email_sealed
  FROM customers.contact
 WHERE tenant_id = $1::uuid AND customer_id = $2::uuid
 ORDER BY name, id
 LIMIT 100;
