-- params:
SELECT tenant_id FROM directory_api.tenant ORDER BY tenant_id
