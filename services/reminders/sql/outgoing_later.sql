-- params: tenant_id delivery_id pause_us attempts result
WITH later AS (
    UPDATE reminders.outgoing
       SET next_try_at = clock_timestamp() + $3::bigint * interval '1 microsecond'
     WHERE tenant_id = $1::uuid AND delivery_id = $2::uuid
    RETURNING delivery_id
)
UPDATE reminders.notification n
   SET attempts = $4::int, last_result = coalesce($5::text, n.last_result)
  FROM later l
 WHERE n.tenant_id = $1::uuid AND n.id = l.delivery_id
