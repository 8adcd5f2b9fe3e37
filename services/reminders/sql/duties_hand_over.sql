-- params: tenant_id ids assignees dues plans tells rounds next_steps next_us policies explanations versions
-- What the one before said to a duty (seen, later) was his. Without policies the plan is the old one.
-- A timer that was parked gets another chance: the duty is another person's.
WITH moved AS (
    UPDATE reminders.obligation o
       SET assignee_id = x.assignee_id, due_at = x.due_at, plan = x.plan::bigint[],
           tells = x.tells, round = x.round, next_step = x.next_step, next_us = x.next_us,
           policies = coalesce(x.policies::json, o.policies),
           explanation = coalesce(x.explanation, o.explanation), acknowledged_at = NULL,
           acknowledge_note = NULL, snoozed_until = NULL, snooze_count = 0, snooze_reason = NULL,
           row_version = x.version
      FROM unnest($2::uuid[], $3::uuid[], $4::timestamptz[], $5::text[], $6::text[],
                  $7::smallint[], $8::smallint[], $9::bigint[], $10::text[], $11::text[],
                  $12::bigint[])
           AS x (id, assignee_id, due_at, plan, tells, round, next_step, next_us, policies,
                 explanation, version)
     WHERE o.tenant_id = $1::uuid AND o.id = x.id
    RETURNING o.id, o.next_step, o.next_us
), unparked AS (
    DELETE FROM reminders.timer_parked p
     USING moved m
     WHERE p.tenant_id = $1::uuid AND p.obligation_id = m.id
)
INSERT INTO reminders.timer (tenant_id, obligation_id, shard, step, due_us)
SELECT $1::uuid, id, get_byte(uuid_send(id), 15) & 63, next_step, next_us
  FROM moved
 WHERE next_us IS NOT NULL
ON CONFLICT (tenant_id, obligation_id) DO UPDATE SET step = excluded.step, due_us = excluded.due_us
