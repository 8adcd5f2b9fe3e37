-- params: tenant_id endpoint_ids lanes after limits
SELECT f.endpoint_id, f.lane, o.seq, o.event_id, o.key, o.attempts, o.first_failed_us, o.tried_us, o.next_us, m.body
  FROM unnest($2::uuid[], $3::smallint[], $4::bigint[], $5::int[]) AS f (endpoint_id, lane, after, rows),
       LATERAL (SELECT seq, event_id, key, attempts, first_failed_us, tried_us, next_us
                  FROM gateway.outgoing
                 WHERE tenant_id = $1::uuid AND endpoint_id = f.endpoint_id AND lane = f.lane
                   AND seq > f.after
                 ORDER BY seq
                 LIMIT f.rows) AS o
  JOIN gateway.message m ON m.tenant_id = $1::uuid AND m.event_id = o.event_id
