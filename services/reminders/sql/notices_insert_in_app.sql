-- params: tenant_id ids obligations rules kinds steps recipients dues fired lates states texts
INSERT INTO reminders.notification
       (tenant_id, id, obligation_id, rule, step_kind, step, recipient_id, channel, due_at, fired_at,
        late, state, delivered_at, text)
SELECT $1::uuid, id, obligation_id, rule, kind, step, recipient_id, 'in_app', reminders.at(due_us),
       reminders.at(fired_us), late, state,
       CASE WHEN state = 'delivered' THEN reminders.at(fired_us) END, text
  FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::smallint[], $7::uuid[], $8::bigint[],
              $9::bigint[], $10::boolean[], $11::text[], $12::text[])
       AS x (id, obligation_id, rule, kind, step, recipient_id, due_us, fired_us, late, state, text)
