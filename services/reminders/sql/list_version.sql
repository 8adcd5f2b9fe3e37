-- params: tenant_id employee_id
SELECT version
  FROM reminders.list_version
 WHERE tenant_id = $1::uuid AND employee_id = $2::uuid
