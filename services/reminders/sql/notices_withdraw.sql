-- params: tenant_id obligations recipients first_ids last_ids
-- What was told somebody of a duty and is not posted yet is not his concern any more.
WITH moot AS (
    UPDATE reminders.notification n
       SET state = 'skipped', last_result = 'handed over'
      FROM unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[])
           AS x (obligation_id, recipient_id, first_id, last_id)
     WHERE n.tenant_id = $1::uuid AND n.id BETWEEN x.first_id AND x.last_id
       AND n.obligation_id = x.obligation_id AND n.recipient_id = x.recipient_id
       AND n.state = 'pending'
    RETURNING n.id
)
DELETE FROM reminders.outgoing o
 USING moot m
 WHERE o.tenant_id = $1::uuid AND o.delivery_id = m.id
