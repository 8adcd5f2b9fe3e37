-- params: tenant_id ids
DELETE FROM reminders.tombstone
 WHERE tenant_id = $1::uuid AND obligation_id = ANY ($2::uuid[])
RETURNING obligation_id, cancelled, closed_at
