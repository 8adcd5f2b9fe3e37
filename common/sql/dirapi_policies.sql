-- params:
SELECT tenant_id, key, unit_id, value, effective_from
  FROM directory_api.policy_setting
 ORDER BY tenant_id, key, version
