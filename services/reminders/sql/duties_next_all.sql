-- params: tenant_id after_us after_id limit
WITH next AS (
    SELECT t.obligation_id, t.due_us
      FROM generate_series(0, 63) AS s (shard),
           LATERAL (SELECT obligation_id, due_us
                      FROM reminders.timer t
                     WHERE t.shard = s.shard::smallint AND t.tenant_id = $1::uuid
                       AND (t.due_us, t.obligation_id) > ($2::bigint, $3::uuid)
                     ORDER BY t.due_us, t.obligation_id
                     LIMIT $4::int) AS t
     ORDER BY t.due_us, t.obligation_id
     LIMIT $4::int
)
SELECT o.id, o.rule, o.subject, o.customer_id, o.assignee_id, o.unit_id, o.title, o.starts_at, o.due_at,
       o.state, o.steps_fired, reminders.at(o.next_us) AS next_at, o.closed_at, o.late_by_s,
       o.acknowledged_at, o.snoozed_until, o.policies,
       string_to_array(o.explanation, E'\n') AS explanation, o.row_version::text AS etag,
       n.due_us AS _key
  FROM next n
  JOIN reminders.obligation o ON o.tenant_id = $1::uuid AND o.id = n.obligation_id
 WHERE o.next_us IS NOT NULL
 ORDER BY n.due_us, n.obligation_id
