-- params: tenant_id ids
SELECT o.id
  FROM reminders.obligation o
 WHERE o.tenant_id = $1::uuid AND o.id = ANY ($2::uuid[])
   FOR NO KEY UPDATE SKIP LOCKED
