-- params: tenant_id id state preliminary_answered_at answered_at answer late
UPDATE customers.question
   SET state = $3::text, preliminary_answered_at = $4::timestamptz, answered_at = $5::timestamptz,
       answer = coalesce($6::text, ''), late = coalesce($7::boolean, false),
       row_version = row_version + 1
 WHERE tenant_id = $1::uuid AND id = $2::uuid;
