-- params:
SELECT tenant_id, credential_id, actor_id, is_employee, secret_hash, expires_at,
       array_to_string(scopes, ',') AS scopes, array_to_string(allowed_networks, ',') AS networks
  FROM directory_api.api_key
