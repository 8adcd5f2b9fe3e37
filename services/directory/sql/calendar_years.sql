-- params: tenant_id
SELECT year FROM directory.calendar_year WHERE tenant_id = $1::uuid
