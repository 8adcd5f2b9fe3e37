-- params: tenant_id now
-- Imports and exports that have expired; some, until all are gone. Their files are deleted later.
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
            WHERE x.tenant_id = $1::uuid AND x.expires_at <= $2::timestamptz AND x.finished_at IS NOT NULL
            ORDER BY x.id LIMIT 20)
    RETURNING e.id
), ended AS (
    SELECT id FROM imports UNION ALL SELECT id FROM exports
), marked AS (
    INSERT INTO gateway.transfer_work AS w (tenant_id, transfer_id, kind)
    SELECT $1::uuid, id, 'dead' FROM ended
    ON CONFLICT (tenant_id, transfer_id) DO UPDATE SET kind = 'dead', version = w.version + 1
)
SELECT id FROM ended
