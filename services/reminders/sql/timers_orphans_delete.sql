-- params: tenant_id ids
DELETE FROM reminders.timer t
 WHERE t.tenant_id = $1::uuid AND t.obligation_id = ANY ($2::uuid[])
   AND NOT EXISTS (SELECT FROM reminders.obligation o
                    WHERE o.tenant_id = $1::uuid AND o.id = t.obligation_id
                      AND o.next_us = t.due_us AND o.next_step = t.step)
