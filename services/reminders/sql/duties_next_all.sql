-- params: tenant_id after_us after_id limit
-- A duty whose timer was parked still has its next moment, and no row among the timers.
WITH next AS (
    (SELECT obligation_id, due_us
       FROM reminders.timer
      WHERE tenant_id = $1::uuid AND (due_us, obligation_id) > ($2::bigint, $3::uuid)
      ORDER BY due_us, obligation_id
      LIMIT $4::int)
    UNION
    (SELECT o.id, o.next_us
       FROM reminders.timer_parked p
       JOIN reminders.obligation o ON o.tenant_id = $1::uuid AND o.id = p.obligation_id
      WHERE p.tenant_id = $1::uuid AND (o.next_us, o.id) > ($2::bigint, $3::uuid)
        AND NOT EXISTS (SELECT FROM reminders.timer t
                         WHERE t.tenant_id = $1::uuid AND t.obligation_id = p.obligation_id)
      ORDER BY o.next_us, o.id
      LIMIT $4::int)
     ORDER BY due_us, obligation_id
     LIMIT $4::int
)
SELECT o.id, o.rule, o.subject, o.customer_id, o.assignee_id, o.unit_id, o.title, o.starts_at, o.due_at,
       o.state, o.steps_fired, reminders.at(o.next_us) AS next_at, o.closed_at, o.late_by_s,
       o.acknowledged_at, o.snoozed_until, o.policies,
       string_to_array(o.explanation, E'\n') AS explanation, o.row_version::text AS etag,
       o.next_us AS _key
  FROM next n
  JOIN reminders.obligation o ON o.tenant_id = $1::uuid AND o.id = n.obligation_id
 ORDER BY n.due_us, n.obligation_id
