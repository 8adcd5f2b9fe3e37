-- params: tenant_id id version batches rows inserted updated unchanged duplicates invalid result_bytes
-- No row: the work is another's by now.
WITH held AS (
    UPDATE gateway.transfer_work
       SET claimed_until = clock_timestamp() + interval '15 seconds', attempts = 0
     WHERE tenant_id = $1::uuid AND transfer_id = $2::uuid AND version = $3::bigint
    RETURNING 1
)
UPDATE gateway.import
   SET state = 'running', batches = $4::bigint, rows = $5::bigint, inserted = $6::bigint, updated = $7::bigint,
       unchanged = $8::bigint, duplicates = $9::bigint, invalid = $10::bigint, result_bytes = $11::bigint,
       row_version = row_version + 1
 WHERE tenant_id = $1::uuid AND id = $2::uuid AND EXISTS (SELECT FROM held)
RETURNING cancel_requested
