-- params: tenant_id customer_id ended_at questions
UPDATE customers.customer
   SET last_contact_at = greatest(last_contact_at, $3::timestamptz),
       open_questions = open_questions + $4::int
 WHERE tenant_id = $1::uuid AND id = $2::uuid;
