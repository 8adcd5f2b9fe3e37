-- params: limit
SELECT tenant_id, employee_id
  FROM reminders.list_version
 WHERE cached_version < version
 LIMIT $1::int
