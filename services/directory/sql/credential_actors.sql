-- params: tenant_id ids
SELECT id, actor_id
  FROM directory.credential
 WHERE tenant_id = $1::uuid AND id = ANY ($2::uuid[])
