-- params: tenant_id
SELECT count(*) AS n FROM gateway.endpoint WHERE tenant_id = $1::uuid
