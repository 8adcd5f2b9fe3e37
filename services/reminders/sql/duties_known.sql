-- params: tenant_id ids
SELECT id
  FROM reminders.obligation
 WHERE tenant_id = $1::uuid AND id = ANY ($2::uuid[])
