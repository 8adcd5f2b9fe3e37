-- params:
SELECT tenant_id, credential_id, actor_id, is_employee, public_key, expires_at,
       array_to_string(scopes, ',') AS scopes
  FROM directory_api.bus_key
