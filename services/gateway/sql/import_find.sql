-- params: tenant_id id
SELECT id, collection, format, source, dry_run, update_owner, state, cancel_requested, rows, inserted, updated,
       unchanged, duplicates, invalid, file_bytes, result_bytes, created_by, created_at, finished_at, expires_at,
       error_code AS "error.code", error_message AS "error.message", row_version::text AS etag, batches AS _batches, principal AS _principal, remote_address AS _remote_address, credential_id AS _credential_id,
       result_sha256 AS _result_sha256
  FROM gateway.import
 WHERE tenant_id = $1::uuid AND id = $2::uuid
