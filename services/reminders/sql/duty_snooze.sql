-- params: tenant_id id snoozed_until reason next_step next_us
WITH snoozed AS (
    UPDATE reminders.obligation
       SET snoozed_until = $3::timestamptz, snooze_reason = $4::text,
           snooze_count = snooze_count + 1, next_step = $5::smallint, next_us = $6::bigint,
           row_version = row_version + 1
     WHERE tenant_id = $1::uuid AND id = $2::uuid
    RETURNING id
)
UPDATE reminders.timer t
   SET step = $5::smallint, due_us = $6::bigint
  FROM snoozed s
 WHERE t.tenant_id = $1::uuid AND t.obligation_id = s.id
