-- params: tenant_id transfer_id kind at
-- The piece in which that byte is, if it is in one.
SELECT at, bytes
  FROM gateway.transfer_chunk
 WHERE tenant_id = $1::uuid AND transfer_id = $2::uuid AND kind = $3::text AND at <= $4::bigint
 ORDER BY at DESC
 LIMIT 1
