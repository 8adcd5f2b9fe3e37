-- params: tenant_id
SELECT id, types, created_at, since_seq AS "_since_seq" FROM gateway.endpoint WHERE tenant_id = $1::uuid
