-- params: tenant_id year
SELECT version FROM directory.calendar_year WHERE tenant_id = $1::uuid AND year = $2::int
