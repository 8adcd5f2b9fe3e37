-- params: tenant_id employee_id version
UPDATE reminders.list_version
   SET cached_version = $3::bigint
 WHERE tenant_id = $1::uuid AND employee_id = $2::uuid AND cached_version < $3::bigint
