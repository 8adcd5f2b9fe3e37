-- params: tenant_id id reason
UPDATE gateway.endpoint
   SET state = 'disabled', disabled_reason = $3::text, row_version = row_version + 1
 WHERE tenant_id = $1::uuid AND id = $2::uuid AND state = 'active'
RETURNING id, url, types, description, state, disabled_reason, failing_since,
       CASE WHEN old_secret_until > clock_timestamp() THEN old_secret_until END AS old_secret_until,
       created_at, row_version::text AS etag
