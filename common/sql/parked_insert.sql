-- params: consumer seq tenant_id type aggregate event attempts reason parked_at state
INSERT INTO ${schema}.parked_event
       (consumer, seq, tenant_id, type, aggregate, event, attempts, reason, parked_at, state)
VALUES ($1::text, $2::bigint, $3::uuid, $4::text, $5::text, $6::bytea, $7::int, $8::text,
        $9::timestamptz, $10::text)
    ON CONFLICT (consumer, seq) DO UPDATE
   SET attempts = excluded.attempts, reason = excluded.reason, parked_at = excluded.parked_at,
       state = excluded.state
