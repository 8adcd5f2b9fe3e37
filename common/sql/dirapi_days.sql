-- params:
SELECT tenant_id, year, date, name, is_off_day FROM directory_api.calendar_day ORDER BY tenant_id
