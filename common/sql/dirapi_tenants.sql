-- params:
SELECT tenant_id, name, time_zone, currency_code FROM directory_api.tenant ORDER BY tenant_id
