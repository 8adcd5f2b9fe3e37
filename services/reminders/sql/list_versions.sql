-- params: tenant_id limit
SELECT employee_id, version
  FROM reminders.list_version
 WHERE tenant_id = $1::uuid
 LIMIT $2::integer
