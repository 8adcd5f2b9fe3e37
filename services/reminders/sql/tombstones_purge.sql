-- params: tenant_id limit
DELETE FROM reminders.tombstone
 WHERE tenant_id = $1::uuid
   AND obligation_id IN (SELECT obligation_id FROM reminders.tombstone
                          WHERE tenant_id = $1::uuid AND made_at < clock_timestamp() - interval '7 days'
                          ORDER BY made_at LIMIT $2::int)
RETURNING 1
