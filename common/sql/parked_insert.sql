-- params: consumer seq tenant_id type aggregate event attempts reason parked_at state next_try_at
INSERT INTO ${schema}.parked_event
       (consumer, seq, tenant_id, type, aggregate, event, attempts, reason, parked_at, state,
        next_try_at)
VALUES ($1::text, $2::bigint, $3::uuid, $4::text, $5::text, $6::bytea, $7::int, $8::text,
        $9::timestamptz, $10::text, $11::timestamptz)
    ON CONFLICT (consumer, seq) DO UPDATE
   SET attempts = excluded.attempts, reason = excluded.reason, parked_at = excluded.parked_at,
       state = excluded.state, next_try_at = excluded.next_try_at
