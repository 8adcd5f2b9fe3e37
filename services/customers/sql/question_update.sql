-- params: tenant_id id state preliminary_answered_at preliminary_answer final_promised_at answered_at answer late
UPDATE customers.question
   SET state = $3::text, preliminary_answered_at = $4::timestamptz,
       preliminary_answer = coalesce($5::text, ''), final_promised_at = $6::timestamptz,
       answered_at = $7::timestamptz, answer = coalesce($8::text, ''),
       late = coalesce($9::boolean, false), row_version = row_version + 1
 WHERE tenant_id = $1::uuid AND id = $2::uuid;
