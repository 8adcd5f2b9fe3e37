-- params: tenant_id id read_at
UPDATE reminders.notification
   SET read_at = coalesce(read_at, $3::timestamptz)
 WHERE tenant_id = $1::uuid AND id = $2::uuid
RETURNING id, obligation_id AS reminder_id, rule, step_kind, step, recipient_id, channel, due_at,
          fired_at, late, state, delivered_at, read_at, attempts, last_result, text
