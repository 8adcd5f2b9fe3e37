-- params: tenant_id people after_us after_id limit
SELECT o.id, o.rule, o.subject, o.customer_id, o.assignee_id, o.unit_id, o.title, o.starts_at, o.due_at,
       o.state, o.steps_fired, reminders.at(o.next_us) AS next_at, o.closed_at, o.late_by_s,
       o.acknowledged_at, o.snoozed_until, o.policies,
       string_to_array(o.explanation, E'\n') AS explanation, o.row_version::text AS etag,
       o.next_us AS _key
  FROM reminders.obligation o
 WHERE o.tenant_id = $1::uuid AND o.assignee_id = ANY ($2::uuid[]) AND o.closed_at IS NULL
   AND (o.next_us, o.id) > ($3::bigint, $4::uuid)
 ORDER BY o.next_us, o.id
 LIMIT $5::int
