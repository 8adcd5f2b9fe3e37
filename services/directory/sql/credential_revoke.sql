-- params: tenant_id id revoked_at
UPDATE directory.credential SET revoked_at = $3::timestamptz, row_version = row_version + 1
 WHERE tenant_id = $1::uuid AND id = $2::uuid
