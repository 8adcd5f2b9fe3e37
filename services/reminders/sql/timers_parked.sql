-- params: tenant_id after_at after_id after_step limit
-- after_at NULL: from the first; limit NULL: to the end.
SELECT p.tenant_id AS _tenant_id, p.obligation_id AS reminder_id, o.rule, o.subject, p.step,
       to_timestamp(0) + p.due_us * interval '1 microsecond' AS due_at, p.reason, p.parked_at,
       coalesce(o.next_us IS NOT NULL AND t.obligation_id IS NULL, false) AS waits
  FROM reminders.timer_parked p
  LEFT JOIN reminders.obligation o ON o.tenant_id = p.tenant_id AND o.id = p.obligation_id
  LEFT JOIN reminders.timer t
    ON t.tenant_id = p.tenant_id AND t.obligation_id = p.obligation_id
 WHERE p.tenant_id = $1::uuid
   AND ($2::timestamptz IS NULL
        OR (p.parked_at, p.obligation_id, p.step) > ($2::timestamptz, $3::uuid, $4::smallint))
 ORDER BY p.parked_at, p.obligation_id, p.step
 LIMIT $5::int
