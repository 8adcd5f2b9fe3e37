-- params:
-- What has ended, and has left pieces behind.
SELECT tenant_id, transfer_id, version
  FROM gateway.transfer_work
 WHERE kind = 'dead'
 ORDER BY tenant_id, transfer_id
 LIMIT 100
