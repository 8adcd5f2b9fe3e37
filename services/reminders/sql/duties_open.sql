-- params: tenant_id ids rules pending_only
SELECT o.id, o.rule, o.subject, o.customer_id, o.assignee_id, o.unit_id, o.title, o.starts_at, o.due_at,
       o.state, o.steps_fired, reminders.at(o.next_us) AS next_at, o.acknowledged_at,
       o.snoozed_until, o.row_version::text AS etag,
       o.plan AS _plan, o.tells AS _tells, o.known_us AS _known_us, o.named_due_us AS _named_due_us,
       o.round AS _round, o.next_step AS _next_step, o.next_us AS _next_us, o.row_version AS _version
  FROM reminders.obligation o
 WHERE o.tenant_id = $1::uuid AND o.id = ANY ($2::uuid[]) AND o.closed_at IS NULL
   AND o.rule = ANY ($3::text[])
   AND (NOT $4::boolean OR (o.state = 'pending' AND o.next_us IS NOT NULL))
 ORDER BY o.id
   FOR UPDATE
