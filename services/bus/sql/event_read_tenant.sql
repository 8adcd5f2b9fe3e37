-- params: after_seq limit aggregate types prefixes tenant_id upto_seq
-- As event_read for one tenant; a statement of its own, so that its plan goes by the tenant's index.
-- One snapshot for head and events, so that 'nothing before the head' is a fact.
SELECT h.log_id AS "_log_id", h.last_seq AS "_head_seq",
       l.event_id, l.tenant_id, l.type, l.aggregate, l.aggregate_version, l.seq, l.prev_seq,
       l.occurred_at, l.actor_id, l.request_id, l.traceparent, l.method,
       l.remote_address, l.fields,
       'type.googleapis.com/' || l.type AS "data.type_url", l.payload AS "data.value"
  FROM bus.head h
  LEFT JOIN LATERAL (
        SELECT * FROM bus.log e
         WHERE e.seq > $1::bigint AND e.seq <= least(h.last_seq, $7::bigint)
           AND e.tenant_id = $6::uuid
           AND ($3::text IS NULL OR e.aggregate = $3::text)
           AND ($4::text[] IS NULL OR e.type = ANY ($4::text[])
                OR EXISTS (SELECT FROM unnest($5::text[]) AS p (prefix)
                            WHERE starts_with(e.type, p.prefix)))
         ORDER BY e.seq LIMIT $2::bigint) AS l ON true
 WHERE h.one
 ORDER BY l.seq
