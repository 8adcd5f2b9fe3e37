-- params:
SELECT tenant_id, id, parent_id, code, name FROM directory_api.unit ORDER BY tenant_id
