-- params: tenant_id id
UPDATE gateway.import
   SET cancel_requested = cancel_requested OR finished_at IS NULL, row_version = row_version + 1
 WHERE tenant_id = $1::uuid AND id = $2::uuid
RETURNING id, collection, format, source, dry_run, update_owner, state, cancel_requested, rows, inserted, updated,
       unchanged, duplicates, invalid, file_bytes, result_bytes, created_by, created_at, finished_at, expires_at,
       error_code AS "error.code", error_message AS "error.message", row_version::text AS etag
