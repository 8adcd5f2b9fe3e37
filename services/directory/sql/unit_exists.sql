-- params: tenant_id id
SELECT true AS there FROM directory.unit WHERE tenant_id = $1::uuid AND id = $2::uuid
