-- params: tenant_id id step due_us reason
-- The duty is locked first, as by all who change its timer.
WITH duty AS (
    SELECT id
      FROM reminders.obligation
     WHERE tenant_id = $1::uuid AND id = $2::uuid
       FOR NO KEY UPDATE
), gone AS (
    DELETE FROM reminders.timer
     WHERE tenant_id = $1::uuid AND obligation_id = $2::uuid AND step = $3::smallint
       AND due_us = $4::bigint AND (SELECT count(*) FROM duty) >= 0
    RETURNING *
)
INSERT INTO reminders.timer_parked (tenant_id, obligation_id, step, due_us, reason)
SELECT tenant_id, obligation_id, step, due_us, $5::text FROM gone
ON CONFLICT (tenant_id, obligation_id, step)
DO UPDATE SET due_us = excluded.due_us, reason = excluded.reason, parked_at = clock_timestamp()
