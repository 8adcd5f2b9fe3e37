-- params: tenant_id moments ids rules subjects customers assignees units titles starts dues known named states plan_from plan_to tells next_steps next_us closed lates policies explanations versions
WITH made AS (
    INSERT INTO reminders.obligation
           (tenant_id, id, rule, subject, customer_id, assignee_id, unit_id, title, starts_at, due_at,
            known_us, named_due_us, state, plan, tells, next_step, next_us, closed_at, late_by_s,
            policies, explanation, row_version)
    SELECT $1::uuid, id, rule, subject, customer_id, assignee_id, unit_id, title, starts_at, due_at,
           known_us, named_due_us, state, ($2::bigint[])[plan_from:plan_to], tells, next_step, next_us,
           closed_at, late_by_s, policies::json, explanation, row_version
      FROM unnest($3::uuid[], $4::text[], $5::text[], $6::uuid[], $7::uuid[], $8::uuid[], $9::text[],
                  $10::timestamptz[], $11::timestamptz[], $12::bigint[], $13::bigint[], $14::text[],
                  $15::bigint[], $16::bigint[], $17::text[], $18::bigint[], $19::bigint[],
                  $20::timestamptz[], $21::bigint[], $22::text[], $23::text[], $24::bigint[])
           AS x (id, rule, subject, customer_id, assignee_id, unit_id, title, starts_at, due_at,
                 known_us, named_due_us, state, plan_from, plan_to, tells, next_step, next_us,
                 closed_at, late_by_s, policies, explanation, row_version)
    RETURNING id, next_step, next_us
)
INSERT INTO reminders.timer (tenant_id, obligation_id, shard, step, due_us)
SELECT $1::uuid, id, get_byte(uuid_send(id), 15) & 63, next_step, next_us
  FROM made
 WHERE next_us IS NOT NULL
