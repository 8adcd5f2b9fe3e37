-- params: tenant_id endpoint_id event_id since parked after limit
-- One delivery, those since a moment, or the parked ones. CASE, not coalesce(): that one is no index condition
-- behind the wall between companies. By ctid: by their ids they would be joined, each delivery of the endpoint with
-- each that is chosen.
WITH chosen AS (
    (SELECT d.ctid
       FROM gateway.delivery d
      WHERE $3::uuid IS NOT NULL
        AND d.tenant_id = $1::uuid AND d.endpoint_id = $2::uuid AND d.event_id = $3::uuid
        AND d.state <> 'pending')
    UNION ALL
    (SELECT d.ctid
       FROM gateway.delivery d
       JOIN gateway.message m ON m.tenant_id = $1::uuid AND m.event_id = d.event_id
      WHERE $4::timestamptz IS NOT NULL
        AND d.tenant_id = $1::uuid AND d.endpoint_id = $2::uuid
        AND d.event_id > CASE WHEN $6::uuid IS NULL THEN '00000000-0000-0000-0000-000000000000' ELSE $6::uuid END
        AND d.state <> 'pending' AND m.occurred_at >= $4::timestamptz
      ORDER BY d.event_id
      LIMIT $7::int)
    UNION ALL
    (SELECT d.ctid
       FROM gateway.delivery d
      WHERE $5::boolean
        AND d.tenant_id = $1::uuid AND d.endpoint_id = $2::uuid AND d.state = 'parked'
        AND d.event_id > CASE WHEN $6::uuid IS NULL THEN '00000000-0000-0000-0000-000000000000' ELSE $6::uuid END
      ORDER BY d.event_id
      LIMIT $7::int)
), again AS (
    UPDATE gateway.delivery d
       SET state = 'pending', attempts = 0
     WHERE d.tenant_id = $1::uuid AND d.ctid = ANY (ARRAY(SELECT c.ctid FROM chosen c)) AND d.state <> 'pending'
    RETURNING d.event_id, d.lane, d.seq, d.key
), waiting AS (
    INSERT INTO gateway.outgoing (tenant_id, endpoint_id, lane, seq, event_id, key)
    SELECT $1::uuid, $2::uuid, lane, seq, event_id, key FROM again
)
SELECT count(*) AS n, coalesce(bit_or(1 << lane), 0) AS lanes, max(event_id::text) AS last FROM again
