-- params: tenant_id people until after_id limit
-- Open ones at rest are few among all that ever were and among those that are open: all of them are
-- past their due time. They are looked for person by person, as the index has them.
WITH RECURSIVE person AS (
    (SELECT assignee_id FROM reminders.obligation
      WHERE tenant_id = $1::uuid AND $2::uuid[] IS NULL
      ORDER BY assignee_id LIMIT 1)
    UNION ALL
    SELECT (SELECT o.assignee_id FROM reminders.obligation o
             WHERE o.tenant_id = $1::uuid AND o.assignee_id > p.assignee_id
             ORDER BY o.assignee_id LIMIT 1)
      FROM person p
     WHERE p.assignee_id IS NOT NULL
), people AS (
    SELECT DISTINCT unnest($2::uuid[]) AS id
    UNION ALL
    SELECT assignee_id FROM person WHERE assignee_id IS NOT NULL
), found AS (
    SELECT o.id
      FROM people p,
           LATERAL (SELECT id FROM reminders.obligation
                     WHERE tenant_id = $1::uuid AND assignee_id = p.id
                       AND closed_at IS NULL AND due_at <= $3::timestamptz
                       AND next_us IS NULL AND id > $4::uuid) AS o
     ORDER BY o.id
     LIMIT $5::int
)
SELECT o.id, o.rule, o.subject, o.customer_id, o.assignee_id, o.unit_id, o.title, o.starts_at, o.due_at,
       o.state, o.steps_fired, o.closed_at, o.late_by_s,
       o.acknowledged_at, o.snoozed_until, o.policies,
       string_to_array(o.explanation, E'\n') AS explanation, o.row_version::text AS etag
  FROM found f
  JOIN reminders.obligation o ON o.tenant_id = $1::uuid AND o.id = f.id
 ORDER BY o.id
