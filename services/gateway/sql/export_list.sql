-- params: tenant_id owners before limit
SELECT id, collection, format, owner_id AS "filter.owner_id", nullif(tier, 0) AS "filter.tier", fields, reason, state,
       approved_by, approved_at, cancel_requested, rows, file_bytes, created_by, created_at, finished_at, expires_at,
       error_code AS "error.code", error_message AS "error.message", row_version::text AS etag
  FROM gateway.export
 WHERE tenant_id = $1::uuid AND ($2::uuid[] IS NULL OR created_by = ANY ($2::uuid[]))
   AND id < coalesce($3::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
 ORDER BY id DESC
 LIMIT $4::int
