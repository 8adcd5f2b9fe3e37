-- params: tenant_id id gone reason
-- What a replica remembers of its own posts does not count: 75 hours are those of the table.
UPDATE gateway.endpoint
   SET state = 'disabled', disabled_reason = $4::text, row_version = row_version + 1
 WHERE tenant_id = $1::uuid AND id = $2::uuid AND state = 'active'
   AND ($3::boolean OR failing_since <= clock_timestamp() - interval '75 hours')
RETURNING id, url, types, description, state, disabled_reason, failing_since,
       CASE WHEN old_secret_until > clock_timestamp() THEN old_secret_until END AS old_secret_until,
       created_at, row_version::text AS etag
