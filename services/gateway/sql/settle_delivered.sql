-- params: tenant_id endpoint_ids lanes seqs event_ids attempts times statuses results
-- An endpoint that takes something does not fail, whoever has written that it does.
WITH done AS (
    SELECT *
      FROM unnest($2::uuid[], $3::bigint[], $4::bigint[], $5::uuid[], $6::bigint[], $7::timestamptz[],
                  $8::bigint[], $9::text[])
        AS d (endpoint_id, lane, seq, event_id, attempts, at, status, result)
), gone AS (
    DELETE FROM gateway.outgoing o
     USING done d
     WHERE o.tenant_id = $1::uuid AND o.endpoint_id = d.endpoint_id AND o.lane = d.lane
       AND o.seq = d.seq AND o.event_id = d.event_id
    RETURNING o.endpoint_id, o.event_id
), answers AS (
    UPDATE gateway.endpoint e
       SET failing_since = NULL
      FROM (SELECT DISTINCT endpoint_id FROM done ORDER BY endpoint_id) AS d
     WHERE e.tenant_id = $1::uuid AND e.id = d.endpoint_id AND e.state = 'active'
       AND e.failing_since IS NOT NULL
)
UPDATE gateway.delivery v
   SET state = 'delivered', attempts = d.attempts, attempted_at = d.at, last_status = d.status,
       last_result = d.result
  FROM done d
  JOIN gone g ON g.endpoint_id = d.endpoint_id AND g.event_id = d.event_id
 WHERE v.tenant_id = $1::uuid AND v.endpoint_id = d.endpoint_id AND v.event_id = d.event_id
