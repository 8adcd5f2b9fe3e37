-- params: event_id tenant_id type aggregate aggregate_version occurred_at actor_id request_id traceparent payload method remote_address fields
INSERT INTO bus.outbox
       (event_id, tenant_id, type, aggregate, aggregate_version, occurred_at, actor_id, request_id,
        traceparent, payload, method, remote_address, fields)
VALUES ($1::uuid, $2::uuid, $3::text, $4::text, $5::bigint, $6::timestamptz, $7::uuid, $8::text,
        $9::text, $10::bytea, $11::text, $12::text, $13::text[])
