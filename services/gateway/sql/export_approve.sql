-- params: tenant_id id approved_by approved_at expires_at
-- Only now is there a file to keep, however long the request has waited.
UPDATE gateway.export
   SET state = 'pending', approved_by = $3::uuid, approved_at = $4::timestamptz, expires_at = $5::timestamptz,
       row_version = row_version + 1
 WHERE tenant_id = $1::uuid AND id = $2::uuid
RETURNING id, collection, format, owner_id AS "filter.owner_id", nullif(tier, 0) AS "filter.tier", fields, reason, state,
       approved_by, approved_at, cancel_requested, rows, file_bytes, created_by, created_at, finished_at, expires_at,
       error_code AS "error.code", error_message AS "error.message", row_version::text AS etag
