-- params: tenant_id people open_only after_id limit
SELECT o.id, o.rule, o.subject, o.customer_id, o.assignee_id, o.unit_id, o.title, o.starts_at, o.due_at,
       o.state, o.steps_fired, o.closed_at, o.late_by_s,
       o.acknowledged_at, o.snoozed_until, o.policies,
       string_to_array(o.explanation, E'\n') AS explanation, o.row_version::text AS etag,
       0::bigint AS _key
  FROM reminders.obligation o
 WHERE o.tenant_id = $1::uuid AND o.assignee_id = ANY ($2::uuid[]) AND o.next_us IS NULL
   AND o.id > $4::uuid AND (NOT $3::boolean OR o.closed_at IS NULL)
 ORDER BY o.id
 LIMIT $5::int
