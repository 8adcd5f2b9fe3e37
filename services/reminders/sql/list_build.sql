-- params: tenant_id employee_id day_start day_end now
WITH v AS (
    SELECT coalesce((SELECT version FROM reminders.list_version
                      WHERE tenant_id = $1::uuid AND employee_id = $2::uuid), 0) AS version
), tasks AS (
    SELECT 1 AS kind, o.subject, o.rule, o.title, o.customer_id, o.due_at,
           o.state = 'overdue' OR o.due_at <= $5::timestamptz AS overdue, false AS done
      FROM reminders.obligation o
     WHERE o.tenant_id = $1::uuid AND o.assignee_id = $2::uuid AND o.closed_at IS NULL
       AND o.due_at <= $4::timestamptz
    UNION ALL
    SELECT 1, o.subject, o.rule, o.title, o.customer_id, o.due_at, false, true
      FROM reminders.obligation o
     WHERE o.tenant_id = $1::uuid AND o.assignee_id = $2::uuid
       AND o.closed_at >= $3::timestamptz AND o.closed_at < $4::timestamptz
       AND o.state <> 'cancelled'
    UNION ALL
    SELECT 2, 'visits/' || r.id, '', r.goal, r.customer_id, r.starts_at, false,
           r.state IN ('ended', 'reported', 'returned', 'closed')
      FROM reminders.visit_ref r
     WHERE r.tenant_id = $1::uuid AND r.visitor_id = $2::uuid
       AND r.starts_at >= $3::timestamptz AND r.starts_at < $4::timestamptz
       AND r.state NOT IN ('requested', 'rejected', 'cancelled')
)
SELECT v.version AS _version, t.kind, t.subject, t.rule, t.title, t.customer_id,
       c.name AS customer_name, t.due_at, t.overdue, t.done
  FROM v
  LEFT JOIN tasks t ON true
  LEFT JOIN reminders.customer_ref c ON c.tenant_id = $1::uuid AND c.id = t.customer_id
 ORDER BY t.overdue DESC, t.due_at, t.subject, t.rule
 LIMIT 1000
