-- params: tenant_id actor_id after_id limit
SELECT id, kind, actor_id, label, scopes, curve_public_key, created_at, expires_at, revoked_at,
       allowed_networks, last_used_at
  FROM directory.credential
 WHERE tenant_id = $1::uuid
   AND ($2::uuid IS NULL OR actor_id = $2::uuid)
   AND ($3::uuid IS NULL OR id > $3::uuid)
 ORDER BY id
 LIMIT $4::int
