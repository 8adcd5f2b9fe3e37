-- params: tenant_id endpoint_id before limit
-- From the work list: in a long log few are pending.
SELECT d.event_id, d.endpoint_id, m.type, m.subject, m.occurred_at, d.state, d.attempts, d.attempted_at,
       d.last_status, d.last_result,
       CASE WHEN o.next_us > 0 THEN to_timestamp(o.next_us / 1000000.0) END AS next_attempt_at
  FROM (SELECT lane, seq, event_id, next_us
          FROM gateway.outgoing
         WHERE tenant_id = $1::uuid AND endpoint_id = $2::uuid
           AND event_id < coalesce($3::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
         ORDER BY event_id DESC
         LIMIT $4::int) AS o
  JOIN gateway.delivery d ON d.tenant_id = $1::uuid AND d.endpoint_id = $2::uuid AND d.event_id = o.event_id
  JOIN gateway.message m ON m.tenant_id = $1::uuid AND m.event_id = o.event_id
 ORDER BY d.event_id DESC
