-- params: tenant_id id finished_at
-- One that waits for approval ends at once; others as soon as their work sees it.
UPDATE gateway.export
   SET cancel_requested = cancel_requested OR finished_at IS NULL,
       finished_at = CASE WHEN state = 'awaiting_approval' THEN $3::timestamptz ELSE finished_at END,
       state = CASE WHEN state = 'awaiting_approval' THEN 'cancelled' ELSE state END,
       row_version = row_version + 1
 WHERE tenant_id = $1::uuid AND id = $2::uuid
RETURNING id, collection, format, owner_id AS "filter.owner_id", nullif(tier, 0) AS "filter.tier", fields, reason, state,
       approved_by, approved_at, cancel_requested, rows, file_bytes, created_by, created_at, finished_at, expires_at,
       error_code AS "error.code", error_message AS "error.message", row_version::text AS etag
