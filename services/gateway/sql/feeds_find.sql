-- params: lanes
-- Which endpoints have something waiting in which lane, by steps through the index.
WITH RECURSIVE q AS (
    (SELECT tenant_id, endpoint_id, lane
       FROM gateway.outgoing
      ORDER BY tenant_id, endpoint_id, lane
      LIMIT 1)
    UNION ALL
    SELECT next.tenant_id, next.endpoint_id, next.lane
      FROM q,
           LATERAL (SELECT o.tenant_id, o.endpoint_id, o.lane
                      FROM gateway.outgoing o
                     WHERE (o.tenant_id, o.endpoint_id, o.lane) > (q.tenant_id, q.endpoint_id, q.lane)
                     ORDER BY o.tenant_id, o.endpoint_id, o.lane
                     LIMIT 1) AS next
)
SELECT tenant_id, endpoint_id, lane FROM q WHERE lane = ANY ($1::smallint[])
