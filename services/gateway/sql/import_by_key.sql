-- params: tenant_id created_by idempotency_key
SELECT id, collection, format, source, dry_run, update_owner, state, cancel_requested, rows, inserted, updated,
       unchanged, duplicates, invalid, file_bytes, result_bytes, created_by, created_at, finished_at, expires_at,
       error_code AS "error.code", error_message AS "error.message", row_version::text AS etag, file_sha256 AS _file_sha256
  FROM gateway.import
 WHERE tenant_id = $1::uuid AND created_by = $2::uuid AND idempotency_key = $3::text AND idempotency_key <> ''
