-- params: tenant_id id
-- Waits for the fan-out, which holds it too: what that writes is seen by what follows.
SELECT id, url, types, description, state, disabled_reason, failing_since,
       CASE WHEN old_secret_until > clock_timestamp() THEN old_secret_until END AS old_secret_until,
       created_at, row_version::text AS etag
  FROM gateway.endpoint
 WHERE tenant_id = $1::uuid AND id = $2::uuid
   FOR UPDATE
