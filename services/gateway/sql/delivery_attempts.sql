-- params: tenant_id endpoint_id event_id
SELECT at, status, result, took_ms
  FROM gateway.attempt
 WHERE tenant_id = $1::uuid AND endpoint_id = $2::uuid AND event_id = $3::uuid
 ORDER BY at DESC
 LIMIT 100
