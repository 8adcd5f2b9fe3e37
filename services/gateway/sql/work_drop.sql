-- params: tenant_id transfer_id
-- An upload that came to nothing.
WITH gone AS (
    DELETE FROM gateway.transfer_work
     WHERE tenant_id = $1::uuid AND transfer_id = $2::uuid AND kind = 'upload'
    RETURNING 1
)
DELETE FROM gateway.transfer_chunk
 WHERE tenant_id = $1::uuid AND transfer_id = $2::uuid AND EXISTS (SELECT FROM gone)
