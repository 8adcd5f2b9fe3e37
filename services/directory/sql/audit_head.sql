-- params: tenant_id
SELECT number, hash
  FROM directory.audit_head
 WHERE tenant_id = $1::uuid
