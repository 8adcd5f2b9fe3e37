-- params: tenant_id
SELECT row_version FROM directory.tenant WHERE tenant_id = $1::uuid FOR NO KEY UPDATE
