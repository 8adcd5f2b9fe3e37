-- params: tenant_id after sealed
SELECT id, secret AS first, old_secret AS second
  FROM gateway.endpoint
 WHERE tenant_id = $1::uuid AND id > $2::uuid AND (secret LIKE $3::text OR old_secret LIKE $3::text)
 ORDER BY id
 LIMIT 200
