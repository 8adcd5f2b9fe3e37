-- params: tenant_id year dates names off_days
INSERT INTO directory.calendar_day (tenant_id, year, date, name, is_off_day)
SELECT $1::uuid, $2::int, day.date, day.name, day.is_off_day
  FROM unnest($3::date[], $4::text[], $5::boolean[]) AS day (date, name, is_off_day)
