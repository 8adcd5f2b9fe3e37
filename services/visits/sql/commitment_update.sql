-- params: tenant_id id due_at state fulfilled_at result broken
UPDATE visits.commitment
   SET due_at = $3::timestamptz, state = $4::text, fulfilled_at = $5::timestamptz,
       result = $6::text, broken = coalesce($7::boolean, false), row_version = row_version + 1
 WHERE tenant_id = $1::uuid AND id = $2::uuid;
