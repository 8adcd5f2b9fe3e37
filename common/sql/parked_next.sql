-- params: consumer now
-- In their order within an aggregate: one that is tried again later holds up those behind it. None during
-- a rebuild: what its reaction looks up is not whole before the end.
SELECT seq, event, attempts
  FROM ${schema}.parked_event p
 WHERE consumer = $1::text AND state = 'replay' AND p.next_try_at <= $2::timestamptz
   AND NOT EXISTS (SELECT FROM ${schema}.consumer_cursor c
                    WHERE c.consumer = $1::text AND c.replay_until > 0)
   AND NOT EXISTS (SELECT FROM ${schema}.parked_event e
                    WHERE e.consumer = p.consumer AND e.tenant_id = p.tenant_id
                      AND e.aggregate = p.aggregate AND e.seq < p.seq AND e.state <> 'done')
 ORDER BY seq
 LIMIT 1
