-- params: tenant_id after_id limit until rules
-- The next duties of those rules that are owed and due by then, with a timer or without one any more, and
-- those whose timers were parked. They are looked for person by person, as the index has them.
WITH RECURSIVE person AS (
    (SELECT assignee_id FROM reminders.obligation
      WHERE tenant_id = $1::uuid
      ORDER BY assignee_id LIMIT 1)
    UNION ALL
    SELECT (SELECT o.assignee_id FROM reminders.obligation o
             WHERE o.tenant_id = $1::uuid AND o.assignee_id > p.assignee_id
             ORDER BY o.assignee_id LIMIT 1)
      FROM person p
     WHERE p.assignee_id IS NOT NULL
), stretch AS (
    SELECT o.id
      FROM person p,
           LATERAL (SELECT id FROM reminders.obligation
                     WHERE tenant_id = $1::uuid AND assignee_id = p.assignee_id
                       AND closed_at IS NULL AND due_at <= $4::timestamptz
                       AND rule = ANY ($5::text[]) AND id > $2::uuid) AS o
    UNION
    SELECT obligation_id FROM reminders.timer_parked
     WHERE tenant_id = $1::uuid AND obligation_id > $2::uuid
     ORDER BY id
     LIMIT $3::int
)
SELECT count(*) AS n,
       (SELECT id FROM stretch ORDER BY id DESC LIMIT 1) AS last_id,
       array_agg(id) AS ids
  FROM stretch
