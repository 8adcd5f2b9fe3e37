-- params: consumer
SELECT log_id, seq, event_id, replay_until, starts, trying_seq, tries,
       EXISTS (SELECT FROM ${schema}.parked_event p
                WHERE p.consumer = c.consumer AND p.state <> 'done') AS has_parked
  FROM ${schema}.consumer_cursor c
 WHERE consumer = $1::text
