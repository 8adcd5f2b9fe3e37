-- params: tenant_id now
-- Imports and exports that have expired, with their files; some, until all are gone.
WITH imports AS (
    DELETE FROM gateway.import i
     WHERE i.tenant_id = $1::uuid AND i.id IN (
           SELECT x.id FROM gateway.import x
            WHERE x.tenant_id = $1::uuid AND x.expires_at <= $2::timestamptz AND x.finished_at IS NOT NULL
            ORDER BY x.id LIMIT 20)
    RETURNING i.id
), exports AS (
    DELETE FROM gateway.export e
     WHERE e.tenant_id = $1::uuid AND e.id IN (
           SELECT x.id FROM gateway.export x
            WHERE x.tenant_id = $1::uuid AND x.expires_at <= $2::timestamptz
              AND (x.finished_at IS NOT NULL OR x.state = 'awaiting_approval')
            ORDER BY x.id LIMIT 20)
    RETURNING e.id
), ended AS (
    SELECT id FROM imports UNION ALL SELECT id FROM exports
), files AS (
    DELETE FROM gateway.transfer_chunk c USING ended WHERE c.tenant_id = $1::uuid AND c.transfer_id = ended.id
)
SELECT id FROM ended
