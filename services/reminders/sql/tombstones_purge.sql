-- params: tenant_id limit
-- None while events of the company are parked: the opening one may be among them, and would open what
-- is done (REM-06).
DELETE FROM reminders.tombstone
 WHERE tenant_id = $1::uuid
   AND obligation_id IN (SELECT obligation_id FROM reminders.tombstone
                          WHERE tenant_id = $1::uuid AND made_at < clock_timestamp() - interval '7 days'
                          ORDER BY made_at LIMIT $2::int)
   AND NOT EXISTS (SELECT FROM reminders.parked_event
                    WHERE consumer = 'reminders' AND tenant_id = $1::uuid AND state <> 'done')
RETURNING 1
