-- params: tenant_id year
INSERT INTO directory.calendar_year (tenant_id, year, version) VALUES ($1::uuid, $2::int, 1)
    ON CONFLICT (tenant_id, year) DO UPDATE SET version = calendar_year.version + 1
RETURNING version
