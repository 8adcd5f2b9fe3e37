-- params: tenant_id id
SELECT id, collection, format, owner_id AS "filter.owner_id", nullif(tier, 0) AS "filter.tier", fields, reason, state,
       approved_by, approved_at, cancel_requested, rows, file_bytes, created_by, created_at, finished_at, expires_at,
       error_code AS "error.code", error_message AS "error.message", row_version::text AS etag, pages AS _pages, page_token AS _page_token, principal AS _principal, remote_address AS _remote_address,
       file_sha256 AS _file_sha256
  FROM gateway.export
 WHERE tenant_id = $1::uuid AND id = $2::uuid
