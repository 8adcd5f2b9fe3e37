-- params: tenant_id id version state file_sha256 finished_at error_code error_message
-- No row: the work is another's by now. A file that is not whole is deleted later, piece by piece.
WITH held AS (
    UPDATE gateway.transfer_work
       SET kind = 'dead', version = version + 1, claimed_until = '-infinity'
     WHERE tenant_id = $1::uuid AND transfer_id = $2::uuid AND version = $3::bigint
    RETURNING 1
)
UPDATE gateway.export
   SET state = $4::text, file_sha256 = $5::text, finished_at = $6::timestamptz, error_code = $7::int,
       error_message = $8::text, row_version = row_version + 1
 WHERE tenant_id = $1::uuid AND id = $2::uuid AND EXISTS (SELECT FROM held)
RETURNING id, collection, format, owner_id AS "filter.owner_id", nullif(tier, 0) AS "filter.tier", fields, reason, state,
       approved_by, approved_at, cancel_requested, rows, file_bytes, created_by, created_at, finished_at, expires_at,
       error_code AS "error.code", error_message AS "error.message", row_version::text AS etag
