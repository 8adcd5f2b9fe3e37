-- params: tenant_id after
SELECT id, secret AS first, old_secret AS second
  FROM gateway.endpoint
 WHERE tenant_id = $1::uuid AND id > $2::uuid
 ORDER BY id
 LIMIT 1000
