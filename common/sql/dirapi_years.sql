-- params:
SELECT tenant_id, year FROM directory_api.calendar_year ORDER BY tenant_id
