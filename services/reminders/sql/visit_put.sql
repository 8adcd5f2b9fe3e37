-- params: tenant_id id visitor_id customer_id goal starts_at state
INSERT INTO reminders.visit_ref (tenant_id, id, visitor_id, customer_id, goal, starts_at, state)
VALUES ($1::uuid, $2::uuid, $3::uuid, $4::uuid, coalesce($5::text, ''), $6::timestamptz, $7::text)
ON CONFLICT (tenant_id, id) DO UPDATE
   SET visitor_id = excluded.visitor_id, customer_id = excluded.customer_id, goal = excluded.goal,
       starts_at = excluded.starts_at, state = excluded.state
