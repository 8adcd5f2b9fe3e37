-- params: tenant_id
UPDATE reminders.list_version v
   SET version = version + 1
  FROM (SELECT employee_id FROM reminders.list_version
         WHERE tenant_id = $1::uuid
         ORDER BY employee_id
           FOR UPDATE) AS l
 WHERE v.tenant_id = $1::uuid AND v.employee_id = l.employee_id
