-- params: tenant_id transfer_id piece_bytes file_bytes
-- No row: it was taken for dead, or a piece is missing. Pieces are committed without waiting for the disk,
-- so one that PostgreSQL took back when it died is missed here. All but the last are full, so their places
-- tell as much as their bytes, and stand in the index.
UPDATE gateway.transfer_work
   SET kind = 'import', claimed_until = '-infinity', waits_since = clock_timestamp()
 WHERE tenant_id = $1::uuid AND transfer_id = $2::uuid AND kind = 'upload'
   AND (SELECT count(*) FROM gateway.transfer_chunk c
         WHERE c.tenant_id = $1::uuid AND c.transfer_id = $2::uuid AND c.kind = 'upload'
           AND c.at < $4::bigint AND c.at % $3::bigint = 0)
       = ($4::bigint + $3::bigint - 1) / $3::bigint
RETURNING 1
