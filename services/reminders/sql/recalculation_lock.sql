-- params: tenant_id id
SELECT after_id, overdue, reason
  FROM reminders.recalculation
 WHERE tenant_id = $1::uuid AND id = $2::uuid AND done_at IS NULL
   FOR UPDATE
