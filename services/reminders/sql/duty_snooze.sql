-- params: tenant_id id snoozed_until reason plan tells next_us
-- A timer that was parked lives again.
WITH snoozed AS (
    UPDATE reminders.obligation
       SET snoozed_until = $3::timestamptz, snooze_reason = $4::text,
           snooze_count = snooze_count + 1, plan = $5::bigint[], tells = $6::text,
           next_us = $7::bigint, row_version = row_version + 1
     WHERE tenant_id = $1::uuid AND id = $2::uuid
    RETURNING id, next_step
), unparked AS (
    DELETE FROM reminders.timer_parked p USING snoozed s
     WHERE p.tenant_id = $1::uuid AND p.obligation_id = s.id
)
INSERT INTO reminders.timer AS t (tenant_id, obligation_id, shard, step, due_us)
SELECT $1::uuid, id, get_byte(uuid_send(id), 15) & 63, next_step, $7::bigint
  FROM snoozed
    ON CONFLICT (tenant_id, obligation_id) DO UPDATE SET due_us = excluded.due_us
