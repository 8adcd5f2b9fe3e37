-- params: tenant_id ids rules subjects customers assignees units titles starts dues known named states plans tells rounds next_steps next_us closed lates policies explanations versions
WITH made AS (
    INSERT INTO reminders.obligation
           (tenant_id, id, rule, subject, customer_id, assignee_id, unit_id, title, starts_at, due_at,
            known_us, named_due_us, state, plan, tells, round, next_step, next_us, closed_at,
            late_by_s, policies, explanation, row_version)
    SELECT $1::uuid, id, rule, subject, customer_id, assignee_id, unit_id, title, starts_at, due_at,
           known_us, named_due_us, state, plan::bigint[], tells, round, next_step, next_us, closed_at,
           late_by_s, policies::json, explanation::text[], row_version
      FROM unnest($2::uuid[], $3::text[], $4::text[], $5::uuid[], $6::uuid[], $7::uuid[], $8::text[],
                  $9::timestamptz[], $10::timestamptz[], $11::bigint[], $12::bigint[], $13::text[],
                  $14::text[], $15::text[], $16::smallint[], $17::smallint[], $18::bigint[],
                  $19::timestamptz[], $20::bigint[], $21::text[], $22::text[], $23::bigint[])
           AS x (id, rule, subject, customer_id, assignee_id, unit_id, title, starts_at, due_at,
                 known_us, named_due_us, state, plan, tells, round, next_step, next_us, closed_at,
                 late_by_s, policies, explanation, row_version)
    RETURNING id, next_step, next_us
)
INSERT INTO reminders.timer (tenant_id, obligation_id, shard, step, due_us)
SELECT $1::uuid, id, get_byte(uuid_send(id), 15) & 63, next_step, next_us
  FROM made
 WHERE next_us IS NOT NULL
