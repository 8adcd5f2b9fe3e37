-- params: tenant_id occurred_at actor_id request_id method remote_address fields event_ids types aggregates aggregate_versions traceparents payloads
-- unnest() gives the elements in their order, and nothing here stands between it and the identity.
INSERT INTO bus.outbox
       (event_id, tenant_id, type, aggregate, aggregate_version, occurred_at, actor_id, request_id,
        traceparent, payload, method, remote_address, fields)
SELECT event_id, $1::uuid, type, aggregate, aggregate_version, $2::timestamptz, $3::uuid, $4::text,
       traceparent, payload, $5::text, $6::text, $7::text[]
  FROM unnest($8::uuid[], $9::text[], $10::text[], $11::bigint[], $12::text[], $13::bytea[])
       AS e (event_id, type, aggregate, aggregate_version, traceparent, payload)
