-- params: tenant_id customer_id happened_at event_id kind subject summary actor_id visitor_id visit_mode began_at ended_at
INSERT INTO customers.foreign_event (tenant_id, customer_id, happened_at, event_id, kind, subject,
       summary, actor_id, visitor_id, visit_mode, began_at, ended_at)
VALUES ($1::uuid, $2::uuid, $3::timestamptz, $4::uuid, $5::text, $6::text, $7::text, $8::uuid,
        $9::uuid, $10::text, $11::timestamptz, $12::timestamptz)
    ON CONFLICT DO NOTHING;
