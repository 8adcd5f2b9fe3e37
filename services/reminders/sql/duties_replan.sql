-- params: tenant_id ids dues plans tells rounds next_steps next_us policies explanations versions
-- A timer that was parked gets another chance: what could not be fired was the plan of before.
WITH replanned AS (
    UPDATE reminders.obligation o
       SET due_at = x.due_at, plan = x.plan::bigint[], tells = x.tells, round = x.round,
           next_step = x.next_step, next_us = x.next_us, policies = x.policies::json,
           explanation = x.explanation, row_version = x.version
      FROM unnest($2::uuid[], $3::timestamptz[], $4::text[], $5::text[], $6::smallint[],
                  $7::smallint[], $8::bigint[], $9::text[], $10::text[], $11::bigint[])
           AS x (id, due_at, plan, tells, round, next_step, next_us, policies, explanation, version)
     WHERE o.tenant_id = $1::uuid AND o.id = x.id
    RETURNING o.id, o.next_step, o.next_us
), unparked AS (
    DELETE FROM reminders.timer_parked p
     USING replanned r
     WHERE p.tenant_id = $1::uuid AND p.obligation_id = r.id
)
INSERT INTO reminders.timer (tenant_id, obligation_id, shard, step, due_us)
SELECT $1::uuid, id, get_byte(uuid_send(id), 15) & 63, next_step, next_us
  FROM replanned
ON CONFLICT (tenant_id, obligation_id) DO UPDATE SET step = excluded.step, due_us = excluded.due_us
