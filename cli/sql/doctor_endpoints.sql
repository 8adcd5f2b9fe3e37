-- params: tenant_id
-- A restored log may end before the place behind which a webhook endpoint gets events.
SELECT count(*) AS n
  FROM gateway.endpoint e, bus.head h
 WHERE e.tenant_id = $1::uuid AND e.since_seq > h.last_seq
