-- params: tenant_id limit
-- Those that were done a week ago. What the rule book asked for is kept as record; it is not much.
DELETE FROM reminders.recalculation
 WHERE tenant_id = $1::uuid
   AND id IN (SELECT id FROM reminders.recalculation
               WHERE tenant_id = $1::uuid AND customer_id IS NOT NULL
                 AND done_at < now() - interval '7 days'
               ORDER BY done_at LIMIT $2::int)
RETURNING 1
