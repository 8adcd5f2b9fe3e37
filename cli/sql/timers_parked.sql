-- params: tenant_id
SELECT p.tenant_id, p.obligation_id, o.rule, o.subject, p.step, p.due_us, p.reason, p.parked_at,
       coalesce(o.next_us IS NOT NULL AND t.obligation_id IS NULL, false) AS waits
  FROM reminders.timer_parked p
  LEFT JOIN reminders.obligation o ON o.tenant_id = p.tenant_id AND o.id = p.obligation_id
  LEFT JOIN reminders.timer t
    ON t.tenant_id = p.tenant_id AND t.obligation_id = p.obligation_id
 WHERE p.tenant_id = $1::uuid
 ORDER BY p.parked_at, p.obligation_id, p.step
