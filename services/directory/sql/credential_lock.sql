-- params: tenant_id id
SELECT id, kind, actor_id, label, scopes, curve_public_key, created_at, expires_at, revoked_at,
       allowed_networks, last_used_at, row_version AS _row_version
  FROM directory.credential
 WHERE tenant_id = $1::uuid AND id = $2::uuid
   FOR UPDATE
