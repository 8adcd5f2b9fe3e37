-- params: tenant_id first_id last_id obligation_id
SELECT id, obligation_id AS reminder_id, rule, step_kind, step, recipient_id, channel, due_at, fired_at,
       late, state, delivered_at, read_at, attempts, last_result, text
  FROM reminders.notification
 WHERE tenant_id = $1::uuid AND id BETWEEN $2::uuid AND $3::uuid AND obligation_id = $4::uuid
 ORDER BY fired_at, due_at, step, recipient_id, channel
