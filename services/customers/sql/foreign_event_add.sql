-- params: tenant_id customer_id happened_at event_id kind subject summary actor_id
INSERT INTO customers.foreign_event (tenant_id, customer_id, happened_at, event_id, kind, subject,
       summary, actor_id)
VALUES ($1::uuid, $2::uuid, $3::timestamptz, $4::uuid, $5::text, $6::text, $7::text, $8::uuid)
    ON CONFLICT DO NOTHING;
