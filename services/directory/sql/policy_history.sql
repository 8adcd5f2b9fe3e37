-- params: tenant_id key limit
SELECT key, value, unit_id, effective_from, set_by, set_at, reason
  FROM directory.policy_setting
 WHERE tenant_id = $1::uuid AND key = $2::text
 ORDER BY version DESC
 LIMIT $3::int
