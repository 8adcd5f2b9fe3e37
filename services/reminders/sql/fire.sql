-- params: tenant_id ids steps dues
WITH fired AS (
    UPDATE reminders.obligation o
       SET steps_fired = o.steps_fired + 1,
           state = CASE WHEN o.due_at <= reminders.at(x.due_us) THEN 'overdue' ELSE o.state END,
           next_step = CASE WHEN x.step + 1 < cardinality(o.plan) THEN x.step + 1 END,
           next_us = o.plan[x.step + 2],
           row_version = o.row_version + 1
      FROM unnest($2::uuid[], $3::bigint[], $4::bigint[]) AS x (id, step, due_us)
     WHERE o.tenant_id = $1::uuid AND o.id = x.id AND o.closed_at IS NULL
       AND o.next_us = x.due_us AND o.next_step = x.step
    RETURNING o.id, o.rule, o.subject, o.customer_id, o.assignee_id, o.unit_id, o.title, o.starts_at,
              o.due_at, o.state, o.steps_fired, o.acknowledged_at, o.snoozed_until, o.plan, o.tells,
              o.known_us, o.named_due_us, o.round, o.next_step, o.next_us, o.row_version,
              x.step AS fired_step, x.due_us AS fired_us
), ended AS (
    DELETE FROM reminders.timer t USING fired f
     WHERE t.tenant_id = $1::uuid AND t.obligation_id = f.id AND f.next_us IS NULL
), moved AS (
    UPDATE reminders.timer t SET step = f.next_step, due_us = f.next_us
      FROM fired f
     WHERE t.tenant_id = $1::uuid AND t.obligation_id = f.id AND f.next_us IS NOT NULL
)
SELECT id, rule, subject, customer_id, assignee_id, unit_id, title, starts_at, due_at, state,
       steps_fired, reminders.at(next_us) AS next_at, acknowledged_at, snoozed_until,
       row_version::text AS etag,
       plan AS _plan, tells AS _tells, known_us AS _known_us, named_due_us AS _named_due_us,
       round AS _round, next_step AS _next_step, next_us AS _next_us, row_version AS _version,
       fired_step AS _fired_step, fired_us AS _fired_us,
       EXISTS (SELECT FROM reminders.channel WHERE tenant_id = $1::uuid) AS _has_channels
  FROM fired
