-- params: tenant_id ids cancelled closed
WITH closed AS (
    UPDATE reminders.obligation o
       SET state = CASE WHEN x.cancelled THEN 'cancelled'
                        WHEN x.closed_at > o.due_at THEN 'done_late' ELSE 'done' END,
           late_by_s = CASE WHEN x.cancelled OR x.closed_at <= o.due_at THEN 0
                            ELSE ceil(extract(epoch FROM x.closed_at - o.due_at))::bigint END,
           closed_at = x.closed_at,
           next_step = NULL,
           next_us = NULL,
           row_version = o.row_version + 1
      FROM unnest($2::uuid[], $3::boolean[], $4::timestamptz[]) AS x (id, cancelled, closed_at)
     WHERE o.tenant_id = $1::uuid AND o.id = x.id AND o.closed_at IS NULL
    RETURNING o.id, o.rule, o.subject, o.customer_id, o.assignee_id, o.unit_id, o.title, o.starts_at,
              o.due_at, o.state, o.steps_fired, o.closed_at, o.late_by_s, o.acknowledged_at,
              o.snoozed_until, o.row_version
), unarmed AS (
    DELETE FROM reminders.timer t USING closed c
     WHERE t.tenant_id = $1::uuid AND t.obligation_id = c.id
)
SELECT id, rule, subject, customer_id, assignee_id, unit_id, title, starts_at, due_at, state,
       steps_fired, closed_at, late_by_s, acknowledged_at, snoozed_until, row_version::text AS etag
  FROM closed
