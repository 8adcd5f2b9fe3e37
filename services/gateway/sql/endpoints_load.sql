-- params: tenant_id ids
SELECT id, url, secret, old_secret, old_secret_until, state, failing_since
  FROM gateway.endpoint
 WHERE tenant_id = $1::uuid AND id = ANY ($2::uuid[])
