-- params: tenant_id
UPDATE reminders.list_version v
   SET version = greatest(version + 1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
  FROM (SELECT employee_id FROM reminders.list_version
         WHERE tenant_id = $1::uuid
         ORDER BY employee_id
           FOR UPDATE) AS l
 WHERE v.tenant_id = $1::uuid AND v.employee_id = l.employee_id
