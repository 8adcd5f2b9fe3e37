-- params: tenant_id endpoint_ids lanes seqs event_ids attempts times statuses results took first_failed next
-- next 0: given up.
WITH failed AS (
    SELECT *
      FROM unnest($2::uuid[], $3::bigint[], $4::bigint[], $5::uuid[], $6::bigint[], $7::timestamptz[],
                  $8::bigint[], $9::text[], $10::bigint[], $11::bigint[], $12::bigint[])
        AS f (endpoint_id, lane, seq, event_id, attempts, at, status, result, took, first_failed, next)
), later AS (
    UPDATE gateway.outgoing o
       SET attempts = f.attempts, first_failed_us = f.first_failed, next_us = f.next,
           tried_us = (extract(epoch FROM f.at) * 1000000)::bigint
      FROM failed f
     WHERE f.next > 0 AND o.tenant_id = $1::uuid AND o.endpoint_id = f.endpoint_id AND o.lane = f.lane
       AND o.seq = f.seq AND o.event_id = f.event_id
    RETURNING o.endpoint_id, o.event_id, 'pending' AS state
), never AS (
    DELETE FROM gateway.outgoing o
     USING failed f
     WHERE f.next = 0 AND o.tenant_id = $1::uuid AND o.endpoint_id = f.endpoint_id AND o.lane = f.lane
       AND o.seq = f.seq AND o.event_id = f.event_id
    RETURNING o.endpoint_id, o.event_id, 'parked' AS state
), tried AS (
    INSERT INTO gateway.attempt (tenant_id, endpoint_id, event_id, at, status, result, took_ms)
    SELECT $1::uuid, f.endpoint_id, f.event_id, f.at, f.status, f.result, f.took
      FROM failed f
     WHERE EXISTS (SELECT FROM gateway.endpoint e WHERE e.tenant_id = $1::uuid AND e.id = f.endpoint_id)
    ON CONFLICT DO NOTHING
)
UPDATE gateway.delivery v
   SET state = s.state, attempts = f.attempts, attempted_at = f.at, last_status = f.status,
       last_result = f.result
  FROM (SELECT * FROM later UNION ALL SELECT * FROM never) AS s
  JOIN failed f ON f.endpoint_id = s.endpoint_id AND f.event_id = s.event_id
 WHERE v.tenant_id = $1::uuid AND v.endpoint_id = s.endpoint_id AND v.event_id = s.event_id
