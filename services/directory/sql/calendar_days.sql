-- params: tenant_id year
SELECT year AS _year, date, name, is_off_day
  FROM directory.calendar_day
 WHERE tenant_id = $1::uuid AND ($2::int IS NULL OR year = $2::int)
 ORDER BY date
