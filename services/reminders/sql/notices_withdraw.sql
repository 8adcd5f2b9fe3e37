-- params: tenant_id obligations recipients first_ids last_ids
-- What was told somebody of a duty and is not posted yet is not his concern any more. First what is
-- to be posted, then its notice, as a sender locks them.
WITH moot AS (
    DELETE FROM reminders.outgoing o
     USING unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[])
           AS x (obligation_id, recipient_id, first_id, last_id),
           reminders.notification n
     WHERE n.tenant_id = $1::uuid AND n.id BETWEEN x.first_id AND x.last_id
       AND n.obligation_id = x.obligation_id AND n.recipient_id = x.recipient_id
       AND n.state = 'pending'
       AND o.tenant_id = $1::uuid AND o.delivery_id = n.id
    RETURNING o.delivery_id
)
UPDATE reminders.notification n
   SET state = 'skipped', last_result = 'handed over'
  FROM moot m
 WHERE n.tenant_id = $1::uuid AND n.id = m.delivery_id
