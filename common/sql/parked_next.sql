-- params: consumer now
-- In their order within an aggregate: one that is tried again later holds up those behind it. Not what
-- lies ahead of the cursor: during a rebuild an event's forerunners have yet to come.
SELECT seq, event, attempts
  FROM ${schema}.parked_event p
 WHERE consumer = $1::text AND state = 'replay' AND p.next_try_at <= $2::timestamptz
   AND p.seq <= (SELECT c.seq FROM ${schema}.consumer_cursor c WHERE c.consumer = $1::text)
   AND NOT EXISTS (SELECT FROM ${schema}.parked_event e
                    WHERE e.consumer = p.consumer AND e.tenant_id = p.tenant_id
                      AND e.aggregate = p.aggregate AND e.seq < p.seq AND e.state <> 'done')
 ORDER BY seq
 LIMIT 1
