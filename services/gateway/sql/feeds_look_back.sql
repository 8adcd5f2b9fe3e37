-- params: tenant_id endpoint_ids lanes upto now
-- Of each key the first that is due: what waits behind it is not told.
SELECT f.endpoint_id, f.lane, o.key, min(o.seq) AS seq
  FROM unnest($2::uuid[], $3::smallint[], $4::bigint[]) AS f (endpoint_id, lane, upto)
  JOIN gateway.outgoing o ON o.tenant_id = $1::uuid AND o.endpoint_id = f.endpoint_id AND o.lane = f.lane
   AND o.seq <= f.upto
 WHERE o.next_us <= $5::bigint
 GROUP BY f.endpoint_id, f.lane, o.key
