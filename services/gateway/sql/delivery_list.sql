-- params: tenant_id endpoint_id before limit
-- CASE, not coalesce(): that one is no index condition behind the wall between companies.
SELECT d.event_id, d.endpoint_id, m.type, m.subject, m.occurred_at, d.state, d.attempts, d.attempted_at,
       d.last_status, d.last_result,
       CASE WHEN o.next_us > 0 THEN to_timestamp(o.next_us / 1000000.0) END AS next_attempt_at
  FROM gateway.delivery d
  JOIN gateway.message m ON m.tenant_id = $1::uuid AND m.event_id = d.event_id
  LEFT JOIN gateway.outgoing o ON o.tenant_id = $1::uuid AND o.endpoint_id = $2::uuid AND o.lane = d.lane
                              AND o.seq = d.seq AND o.event_id = d.event_id
 WHERE d.tenant_id = $1::uuid AND d.endpoint_id = $2::uuid
   AND d.event_id < CASE WHEN $3::uuid IS NULL THEN 'ffffffff-ffff-ffff-ffff-ffffffffffff' ELSE $3::uuid END
 ORDER BY d.event_id DESC
 LIMIT $4::int
