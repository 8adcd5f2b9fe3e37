-- params: tenant_id occurred_at actor_id request_id event_ids types aggregates aggregate_versions traceparents payloads
-- unnest() gives the elements in their order, and nothing here stands between it and the identity.
INSERT INTO bus.outbox
       (event_id, tenant_id, type, aggregate, aggregate_version, occurred_at, actor_id, request_id,
        traceparent, payload)
SELECT event_id, $1::uuid, type, aggregate, aggregate_version, $2::timestamptz, $3::uuid, $4::text,
       traceparent, payload
  FROM unnest($5::uuid[], $6::text[], $7::text[], $8::bigint[], $9::text[], $10::bytea[])
       AS e (event_id, type, aggregate, aggregate_version, traceparent, payload)
