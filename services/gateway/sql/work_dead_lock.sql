-- params: tenant_id transfer_id version
-- No row: another replica is at it, or it is needed once more.
SELECT 1
  FROM gateway.transfer_work
 WHERE tenant_id = $1::uuid AND transfer_id = $2::uuid AND version = $3::bigint AND kind = 'dead'
   FOR UPDATE SKIP LOCKED
