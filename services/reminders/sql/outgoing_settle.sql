-- params: tenant_id delivery_id state delivered_at attempts result
WITH gone AS (
    DELETE FROM reminders.outgoing
     WHERE tenant_id = $1::uuid AND delivery_id = $2::uuid
    RETURNING delivery_id
)
UPDATE reminders.notification n
   SET state = $3::text, delivered_at = $4::timestamptz, attempts = $5::int, last_result = $6::text
  FROM gone g
 WHERE n.tenant_id = $1::uuid AND n.id = g.delivery_id
