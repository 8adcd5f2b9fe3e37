-- params: tenant_id fired_at ids obligations rules kinds steps recipients dues lates states texts
INSERT INTO reminders.notification
       (tenant_id, id, obligation_id, rule, step_kind, step, recipient_id, channel, due_at, fired_at,
        late, state, delivered_at, text)
SELECT $1::uuid, id, obligation_id, rule, kind, step, recipient_id, 'in_app', due_at,
       $2::timestamptz, late, state, CASE WHEN state = 'delivered' THEN $2::timestamptz END, text
  FROM unnest($3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::bigint[], $8::uuid[],
              $9::timestamptz[], $10::boolean[], $11::text[], $12::text[])
       AS x (id, obligation_id, rule, kind, step, recipient_id, due_at, late, state, text)
