-- params: tenant_id before limit
-- Ids of events begin with their time.
WITH old AS (
    SELECT event_id
      FROM gateway.message
     WHERE tenant_id = $1::uuid AND event_id < $2::uuid
     ORDER BY event_id
     LIMIT $3::int
), logged AS (
    DELETE FROM gateway.delivery d
     USING old, gateway.endpoint e
     WHERE e.tenant_id = $1::uuid AND d.tenant_id = $1::uuid AND d.endpoint_id = e.id
       AND d.event_id = old.event_id
    RETURNING d.endpoint_id, d.lane, d.seq, d.event_id
), waiting AS (
    DELETE FROM gateway.outgoing o
     USING logged g
     WHERE o.tenant_id = $1::uuid AND o.endpoint_id = g.endpoint_id AND o.lane = g.lane
       AND o.seq = g.seq AND o.event_id = g.event_id
), tried AS (
    DELETE FROM gateway.attempt a
     USING logged g
     WHERE a.tenant_id = $1::uuid AND a.endpoint_id = g.endpoint_id AND a.event_id = g.event_id
)
DELETE FROM gateway.message m
 USING old
 WHERE m.tenant_id = $1::uuid AND m.event_id = old.event_id
RETURNING 1
