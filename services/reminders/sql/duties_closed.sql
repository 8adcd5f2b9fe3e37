-- params: tenant_id people before_at before_id limit
-- Of each person in the very order of the index, so that a page costs what it shows however long the
-- history: hence ties there, and ids only outside.
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
    SELECT o.id, o.closed_at
      FROM people p,
           LATERAL (SELECT id, closed_at FROM reminders.obligation
                     WHERE tenant_id = $1::uuid AND assignee_id = p.id
                       AND closed_at <= coalesce($3::timestamptz, 'infinity')
                       AND ($3::timestamptz IS NULL OR (closed_at, id) < ($3::timestamptz, $4::uuid))
                     ORDER BY closed_at DESC
                     FETCH FIRST ($5::int) ROWS WITH TIES) AS o
     ORDER BY o.closed_at DESC, o.id DESC
     LIMIT $5::int
)
SELECT o.id, o.rule, o.subject, o.customer_id, o.assignee_id, o.unit_id, o.title, o.starts_at, o.due_at,
       o.state, o.steps_fired, o.closed_at, o.late_by_s,
       o.acknowledged_at, o.snoozed_until, o.policies,
       string_to_array(o.explanation, E'\n') AS explanation, o.row_version::text AS etag
  FROM found f
  JOIN reminders.obligation o ON o.tenant_id = $1::uuid AND o.id = f.id
 ORDER BY o.closed_at DESC, o.id DESC
