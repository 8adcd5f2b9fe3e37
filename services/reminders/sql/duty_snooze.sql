-- params: tenant_id id snoozed_until reason plan tells next_us
WITH snoozed AS (
    UPDATE reminders.obligation
       SET snoozed_until = $3::timestamptz, snooze_reason = $4::text,
           snooze_count = snooze_count + 1, plan = $5::bigint[], tells = $6::text,
           next_us = $7::bigint, row_version = row_version + 1
     WHERE tenant_id = $1::uuid AND id = $2::uuid
    RETURNING id
)
UPDATE reminders.timer t
   SET due_us = $7::bigint
  FROM snoozed s
 WHERE t.tenant_id = $1::uuid AND t.obligation_id = s.id
