-- params: tenant_id id state fulfilled_at result
UPDATE visits.commitment
   SET state = $3::text, fulfilled_at = $4::timestamptz, result = $5::text,
       row_version = row_version + 1
 WHERE tenant_id = $1::uuid AND id = $2::uuid;
