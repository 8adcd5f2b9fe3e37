-- params: tenant_id now
-- Exports that nobody has approved in time; some, until all have ended.
UPDATE gateway.export
   SET state = 'cancelled', finished_at = $2::timestamptz, row_version = row_version + 1
 WHERE tenant_id = $1::uuid AND id IN (
       SELECT x.id FROM gateway.export x
        WHERE x.tenant_id = $1::uuid AND x.expires_at <= $2::timestamptz AND x.state = 'awaiting_approval'
        ORDER BY x.id LIMIT 20 FOR UPDATE SKIP LOCKED)
RETURNING id, collection, format, owner_id AS "filter.owner_id", nullif(tier, 0) AS "filter.tier", fields, reason, state,
       approved_by, approved_at, cancel_requested, rows, file_bytes, created_by, created_at, finished_at, expires_at,
       error_code AS "error.code", error_message AS "error.message", row_version::text AS etag
