-- params: tenant_id
SELECT count(DISTINCT o.id) AS waiting
  FROM reminders.timer_parked p
  JOIN reminders.obligation o ON o.tenant_id = p.tenant_id AND o.id = p.obligation_id
 WHERE p.tenant_id = $1::uuid AND o.next_us IS NOT NULL
   AND NOT EXISTS (SELECT FROM reminders.timer t
                    WHERE t.tenant_id = p.tenant_id AND t.obligation_id = p.obligation_id)
