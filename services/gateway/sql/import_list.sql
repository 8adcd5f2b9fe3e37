-- params: tenant_id owners before limit
SELECT id, collection, format, source, dry_run, update_owner, state, cancel_requested, rows, inserted, updated,
       unchanged, duplicates, invalid, file_bytes, result_bytes, created_by, created_at, finished_at, expires_at,
       error_code AS "error.code", error_message AS "error.message", row_version::text AS etag
  FROM gateway.import
 WHERE tenant_id = $1::uuid AND ($2::uuid[] IS NULL OR created_by = ANY ($2::uuid[]))
   AND id < coalesce($3::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
 ORDER BY id DESC
 LIMIT $4::int
