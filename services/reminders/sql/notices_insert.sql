-- params: tenant_id fired_at ids obligations rules kinds steps recipients dues lates states texts http_ids lanes
WITH x AS (
    SELECT *
      FROM unnest($3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::bigint[], $8::uuid[],
                  $9::timestamptz[], $10::boolean[], $11::text[], $12::text[], $13::uuid[],
                  $14::bigint[])
           AS x (id, obligation_id, rule, kind, step, recipient_id, due_at, late, state, text,
                 http_id, lane)
), told AS (
    INSERT INTO reminders.notification
           (tenant_id, id, obligation_id, rule, step_kind, step, recipient_id, channel, due_at,
            fired_at, late, state, delivered_at, text)
    SELECT $1::uuid, id, obligation_id, rule, kind, step, recipient_id, 'in_app',
           due_at, $2::timestamptz, late, state,
           CASE WHEN state = 'delivered' THEN $2::timestamptz END, text
      FROM x
), routed AS (
    SELECT x.*, c.owner_id
      FROM x,
           LATERAL (SELECT owner_id
                      FROM reminders.channel
                     WHERE tenant_id = $1::uuid
                       AND owner_id IN (x.recipient_id, '00000000-0000-0000-0000-000000000000')
                     ORDER BY owner_id = x.recipient_id DESC
                     LIMIT 1) AS c
     WHERE x.state = 'delivered'
), posted AS (
    INSERT INTO reminders.notification
           (tenant_id, id, obligation_id, rule, step_kind, step, recipient_id, channel, due_at,
            fired_at, late, state, text)
    SELECT $1::uuid, http_id, obligation_id, rule, kind, step, recipient_id, 'http',
           due_at, $2::timestamptz, late, 'pending', text
      FROM routed
)
INSERT INTO reminders.outgoing (tenant_id, delivery_id, lane, owner_id)
SELECT $1::uuid, http_id, lane, owner_id
  FROM routed
