-- params: tenant_id ids dues plans tells rounds next_steps next_us policies explanations versions
WITH replanned AS (
    UPDATE reminders.obligation o
       SET due_at = x.due_at, plan = x.plan::bigint[], tells = x.tells, round = x.round,
           next_step = x.next_step, next_us = x.next_us, policies = x.policies::json,
           explanation = x.explanation, row_version = x.version
      FROM unnest($2::uuid[], $3::timestamptz[], $4::text[], $5::text[], $6::smallint[],
                  $7::smallint[], $8::bigint[], $9::text[], $10::text[], $11::bigint[])
           AS x (id, due_at, plan, tells, round, next_step, next_us, policies, explanation, version)
     WHERE o.tenant_id = $1::uuid AND o.id = x.id
    RETURNING o.id, o.next_step, o.next_us
)
UPDATE reminders.timer t
   SET step = r.next_step, due_us = r.next_us
  FROM replanned r
 WHERE t.tenant_id = $1::uuid AND t.obligation_id = r.id
