-- params: lanes after_tenants after_owners full busy_lanes busy_tenants busy_owners limit
-- At most one row of each queue (a lane's notices for one channel): the oldest that is due. Queues
-- are walked by index in the order of lane, company and channel from where the last claim stopped,
-- and no further than is needed, so nobody's flood is read through to find the others. Companies
-- that have their share under way are passed over as a whole.
WITH RECURSIVE q AS (
    SELECT l.lane, l.tenant_id, l.owner_id, 0 AS n
      FROM unnest($1::smallint[], $2::uuid[], $3::uuid[]) AS l (lane, tenant_id, owner_id)
    UNION ALL
    SELECT next.lane, next.tenant_id, next.owner_id, q.n + 1
      FROM q,
           LATERAL (SELECT o.lane, o.tenant_id, o.owner_id
                      FROM reminders.outgoing o
                     WHERE o.lane = q.lane
                       AND (o.tenant_id, o.owner_id) > (q.tenant_id,
                            CASE WHEN q.tenant_id = ANY ($4::uuid[])
                                 THEN 'ffffffff-ffff-ffff-ffff-ffffffffffff' ELSE q.owner_id END)
                     ORDER BY o.tenant_id, o.owner_id
                     LIMIT 1) AS next
)
SELECT o.tenant_id, o.delivery_id, o.lane, o.owner_id
  FROM q,
       LATERAL (SELECT tenant_id, delivery_id, lane, owner_id
                  FROM reminders.outgoing
                 WHERE lane = q.lane AND tenant_id = q.tenant_id AND owner_id = q.owner_id
                   AND next_try_at <= now()
                 ORDER BY next_try_at
                 LIMIT 1) AS o
 WHERE q.n > 0 AND q.tenant_id <> ALL ($4::uuid[])
   AND NOT EXISTS (SELECT
                     FROM unnest($5::smallint[], $6::uuid[], $7::uuid[]) AS b (lane, tenant_id, owner_id)
                    WHERE b.lane = q.lane AND b.tenant_id = q.tenant_id AND b.owner_id = q.owner_id)
 LIMIT $8::int
