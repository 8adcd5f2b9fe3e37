-- params: tenant_id
SELECT id, types, created_at FROM gateway.endpoint WHERE tenant_id = $1::uuid
