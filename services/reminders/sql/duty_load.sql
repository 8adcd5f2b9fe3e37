-- params: tenant_id id
SELECT o.id, o.rule, o.subject, o.customer_id, o.assignee_id, o.unit_id, o.title, o.starts_at, o.due_at,
       o.state, o.steps_fired, reminders.at(o.next_us) AS next_at, o.closed_at, o.late_by_s,
       o.acknowledged_at, o.snoozed_until, o.policies,
       string_to_array(o.explanation, E'\n') AS explanation, o.row_version::text AS etag
  FROM reminders.obligation o
 WHERE o.tenant_id = $1::uuid AND o.id = $2::uuid
