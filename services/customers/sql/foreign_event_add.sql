-- params: tenant_id customer_id happened_at event_id kind subject summary actor_id visitor_id visit_mode began
INSERT INTO customers.foreign_event (tenant_id, customer_id, happened_at, event_id, kind, subject,
       summary, actor_id, visitor_id, visit_mode, began)
VALUES ($1::uuid, $2::uuid, $3::timestamptz, $4::uuid, $5::text, $6::text, $7::text, $8::uuid,
        $9::uuid, $10::text, coalesce($11::boolean, false))
    ON CONFLICT DO NOTHING;
