-- params: tenant_id endpoint_ids lanes after limits seen forgiven now blocking_since
-- What is not due has no body with it (CASE: it is not even looked up). Up to `seen` that is read only if it may hold
-- back others of its key.
SELECT f.endpoint_id, f.lane, o.seq, o.event_id, o.key, o.attempts, o.first_failed_us, o.tried_us, o.next_us, m.body
  FROM unnest($2::uuid[], $3::smallint[], $4::bigint[], $5::int[], $6::bigint[], $7::bigint[])
         AS f (endpoint_id, lane, after, rows, seen, forgiven),
       LATERAL (SELECT seq, event_id, key, attempts, first_failed_us, tried_us, next_us,
                       (next_us <= $8::bigint OR (tried_us > 0 AND tried_us < f.forgiven)) AS is_due
                  FROM gateway.outgoing
                 WHERE tenant_id = $1::uuid AND endpoint_id = f.endpoint_id AND lane = f.lane
                   AND seq > f.after
                   AND (seq > f.seen OR next_us <= $8::bigint OR (tried_us > 0 AND tried_us < f.forgiven)
                        OR first_failed_us > $9::bigint)
                 ORDER BY seq
                 LIMIT f.rows) AS o
  LEFT JOIN gateway.message m ON m.tenant_id = $1::uuid AND m.event_id = CASE WHEN o.is_due THEN o.event_id END
 WHERE NOT o.is_due OR m.event_id IS NOT NULL
