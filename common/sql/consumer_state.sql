-- params: consumer tenant_id
-- tenant_id NULL: what is parked of all companies.
SELECT $1::text AS name, c.consumer IS NOT NULL AS started, coalesce(c.seq, 0) AS seq,
       coalesce(c.replay_until, 0) AS replay_until_seq, h.last_seq AS head_seq,
       (SELECT count(*) FROM ${schema}.parked_event p
         WHERE p.consumer = $1::text AND p.state <> 'done'
           AND ($2::uuid IS NULL OR p.tenant_id = $2::uuid)) AS parked
  FROM bus.head h
  LEFT JOIN ${schema}.consumer_cursor c ON c.consumer = $1::text
