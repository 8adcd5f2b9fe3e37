-- params: tenant_id
-- What the relay has counted already, and the newest events past that.
SELECT c.type, sum(c.n)::bigint AS count
  FROM (SELECT type, n FROM bus.type_count WHERE $1::uuid IS NULL OR tenant_id = $1::uuid
         UNION ALL
        SELECT l.type, count(*)
          FROM bus.log l
         WHERE l.seq > (SELECT seq FROM bus.counted WHERE one)
           AND ($1::uuid IS NULL OR l.tenant_id = $1::uuid)
         GROUP BY l.type) AS c
 GROUP BY c.type
 ORDER BY count DESC, c.type
