-- params: tenant_id endpoint_id before limit
-- From the work list, since in a long log few are pending; from the log where many are, which stand at its end.
WITH waiting AS MATERIALIZED (
    SELECT event_id
      FROM gateway.outgoing
     WHERE tenant_id = $1::uuid AND endpoint_id = $2::uuid
     LIMIT 5001
), page AS (
    (SELECT event_id
       FROM waiting
      WHERE (SELECT count(*) <= 5000 FROM waiting)
        AND event_id < CASE WHEN $3::uuid IS NULL THEN 'ffffffff-ffff-ffff-ffff-ffffffffffff' ELSE $3::uuid END
      ORDER BY event_id DESC
      LIMIT $4::int)
    UNION ALL
    (SELECT event_id
       FROM gateway.delivery
      WHERE (SELECT count(*) > 5000 FROM waiting)
        AND tenant_id = $1::uuid AND endpoint_id = $2::uuid AND state = 'pending'
        AND event_id < CASE WHEN $3::uuid IS NULL THEN 'ffffffff-ffff-ffff-ffff-ffffffffffff' ELSE $3::uuid END
      ORDER BY event_id DESC
      LIMIT $4::int)
)
SELECT d.event_id, d.endpoint_id, m.type, m.subject, m.occurred_at, d.state, d.attempts, d.attempted_at,
       d.last_status, d.last_result,
       CASE WHEN o.next_us > 0 THEN to_timestamp(o.next_us / 1000000.0) END AS next_attempt_at
  FROM page p
  JOIN gateway.delivery d ON d.tenant_id = $1::uuid AND d.endpoint_id = $2::uuid AND d.event_id = p.event_id
  JOIN gateway.message m ON m.tenant_id = $1::uuid AND m.event_id = p.event_id
  LEFT JOIN gateway.outgoing o ON o.tenant_id = $1::uuid AND o.endpoint_id = $2::uuid AND o.lane = d.lane
                              AND o.seq = d.seq AND o.event_id = d.event_id
 ORDER BY d.event_id DESC
