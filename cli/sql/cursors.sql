-- params:
SELECT c.consumer, c.seq, c.replay_until,
       (SELECT count(*) FROM ${schema}.parked_event p
         WHERE p.consumer = c.consumer AND p.state <> 'done') AS parked
  FROM ${schema}.consumer_cursor c
 ORDER BY c.consumer
