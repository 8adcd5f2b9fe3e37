-- params: tenant_id people reminder_id unread_only before_at before_id limit
-- Of each person in the very order of the index, so that a page costs what it shows however long the
-- history: hence ties there, and ids only outside.
WITH RECURSIVE told AS (
    (SELECT recipient_id FROM reminders.notification
      WHERE tenant_id = $1::uuid AND $2::uuid[] IS NULL
      ORDER BY recipient_id LIMIT 1)
    UNION ALL
    SELECT (SELECT n.recipient_id FROM reminders.notification n
             WHERE n.tenant_id = $1::uuid AND n.recipient_id > t.recipient_id
             ORDER BY n.recipient_id LIMIT 1)
      FROM told t
     WHERE t.recipient_id IS NOT NULL
), people AS (
    SELECT DISTINCT unnest($2::uuid[]) AS id
    UNION ALL
    SELECT recipient_id FROM told WHERE recipient_id IS NOT NULL
)
SELECT n.*
  FROM people p,
       LATERAL (SELECT id, obligation_id AS reminder_id, rule, step_kind, step, recipient_id, channel,
                       due_at, fired_at, late, state, delivered_at, read_at, attempts, last_result,
                       text
                  FROM reminders.notification
                 WHERE tenant_id = $1::uuid AND recipient_id = p.id
                   AND ($3::uuid IS NULL OR obligation_id = $3::uuid)
                   AND (NOT $4::boolean OR (channel = 'in_app' AND state = 'delivered'
                                            AND read_at IS NULL))
                   AND fired_at <= coalesce($5::timestamptz, 'infinity')
                   AND ($5::timestamptz IS NULL OR (fired_at, id) < ($5::timestamptz, $6::uuid))
                 ORDER BY fired_at DESC
                 FETCH FIRST ($7::int) ROWS WITH TIES) AS n
 ORDER BY n.fired_at DESC, n.id DESC
 LIMIT $7::int
