-- params: consumer
SELECT seq, replay_until, (SELECT last_seq FROM bus.head) AS head_seq
  FROM ${schema}.consumer_cursor
 WHERE consumer = $1::text
