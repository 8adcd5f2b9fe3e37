-- params: tenant_id id failing_since
-- NULL: it answers again.
UPDATE gateway.endpoint
   SET failing_since = CASE WHEN $3::timestamptz IS NULL THEN NULL
                            ELSE coalesce(failing_since, $3::timestamptz) END
 WHERE tenant_id = $1::uuid AND id = $2::uuid AND state = 'active'
