-- params: tenant_id after_id limit
SELECT id, url, types, description, state, disabled_reason, failing_since,
       CASE WHEN old_secret_until > clock_timestamp() THEN old_secret_until END AS old_secret_until,
       created_at, row_version::text AS etag
  FROM gateway.endpoint
 WHERE tenant_id = $1::uuid AND id > CASE WHEN $2::uuid IS NULL THEN '00000000-0000-0000-0000-000000000000' ELSE $2::uuid END
 ORDER BY id
 LIMIT $3::int
