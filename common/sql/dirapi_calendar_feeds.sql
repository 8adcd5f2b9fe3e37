-- params:
SELECT tenant_id, credential_id, actor_id, is_employee, secret_hash, expires_at,
       array_to_string(scopes, ',') AS scopes, '' AS networks
  FROM directory_api.calendar_feed
