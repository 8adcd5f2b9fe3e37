-- params: tenant_id event_ids types subjects times bodies
INSERT INTO gateway.message (tenant_id, event_id, type, subject, occurred_at, body)
SELECT $1::uuid, m.event_id, m.type, m.subject, m.occurred_at, m.body
  FROM unnest($2::uuid[], $3::text[], $4::text[], $5::timestamptz[], $6::text[])
    AS m (event_id, type, subject, occurred_at, body)
ON CONFLICT DO NOTHING
