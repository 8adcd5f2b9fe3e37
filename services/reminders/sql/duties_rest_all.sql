-- params: tenant_id open_only after_id limit until
-- Open ones at rest are few among all that ever were and among those that are open: all of them are
-- past their due time. They are looked for person by person, as the index has them.
WITH RECURSIVE person AS (
    (SELECT assignee_id FROM reminders.obligation
      WHERE tenant_id = $1::uuid AND $2::boolean
      ORDER BY assignee_id LIMIT 1)
     UNION ALL
    SELECT (SELECT o.assignee_id FROM reminders.obligation o
             WHERE o.tenant_id = $1::uuid AND o.assignee_id > p.assignee_id
             ORDER BY o.assignee_id LIMIT 1)
      FROM person p
     WHERE p.assignee_id IS NOT NULL
), found AS (
    (SELECT o.id
       FROM person p,
            LATERAL (SELECT id FROM reminders.obligation
                      WHERE tenant_id = $1::uuid AND assignee_id = p.assignee_id
                        AND closed_at IS NULL AND due_at <= $5::timestamptz
                        AND next_us IS NULL AND id > $3::uuid) AS o
      ORDER BY o.id
      LIMIT $4::int)
    UNION ALL
    (SELECT id FROM reminders.obligation
      WHERE tenant_id = $1::uuid AND NOT $2::boolean AND next_us IS NULL AND id > $3::uuid
      ORDER BY id
      LIMIT $4::int)
)
SELECT o.id, o.rule, o.subject, o.customer_id, o.assignee_id, o.unit_id, o.title, o.starts_at, o.due_at,
       o.state, o.steps_fired, o.closed_at, o.late_by_s,
       o.acknowledged_at, o.snoozed_until, o.policies,
       string_to_array(o.explanation, E'\n') AS explanation, o.row_version::text AS etag,
       0::bigint AS _key
  FROM found f
  JOIN reminders.obligation o ON o.tenant_id = $1::uuid AND o.id = f.id
 ORDER BY o.id
