-- params: tenant_id year
DELETE FROM directory.calendar_day WHERE tenant_id = $1::uuid AND year = $2::int
