-- params: tenant_id transfer_id
-- Some of what a transfer that has ended needs no more: what was uploaded, files that are not whole, and
-- what is of no import or export. 64 pieces of 256 KiB are deleted well within the limit of a statement.
WITH dead AS (
    SELECT c.kind, c.at
      FROM gateway.transfer_chunk c
     WHERE c.tenant_id = $1::uuid AND c.transfer_id = $2::uuid
       AND (c.kind = 'upload'
            OR (c.kind = 'result' AND NOT EXISTS (SELECT FROM gateway.import i
                                                   WHERE i.tenant_id = $1::uuid AND i.id = $2::uuid))
            OR (c.kind = 'file' AND NOT EXISTS (SELECT FROM gateway.export e
                                                 WHERE e.tenant_id = $1::uuid AND e.id = $2::uuid
                                                   AND e.state = 'done')))
     ORDER BY c.kind, c.at
     LIMIT 64
)
DELETE FROM gateway.transfer_chunk c USING dead
 WHERE c.tenant_id = $1::uuid AND c.transfer_id = $2::uuid AND c.kind = dead.kind AND c.at = dead.at
RETURNING 1
