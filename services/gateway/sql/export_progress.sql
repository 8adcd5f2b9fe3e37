-- params: tenant_id id version pages page_token rows file_bytes
-- No row: the work is another's by now.
WITH held AS (
    UPDATE gateway.transfer_work
       SET claimed_until = clock_timestamp() + interval '15 seconds', attempts = 0
     WHERE tenant_id = $1::uuid AND transfer_id = $2::uuid AND version = $3::bigint
    RETURNING 1
)
UPDATE gateway.export
   SET state = 'running', pages = $4::bigint, page_token = $5::text, rows = $6::bigint, file_bytes = $7::bigint,
       row_version = row_version + 1
 WHERE tenant_id = $1::uuid AND id = $2::uuid AND EXISTS (SELECT FROM held)
RETURNING cancel_requested
