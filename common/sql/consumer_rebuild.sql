-- params: consumer
UPDATE ${schema}.consumer_cursor
   SET seq = 0, event_id = NULL, replay_until = (SELECT last_seq FROM bus.head),
       starts = 0, trying_seq = 0, tries = 0
 WHERE consumer = $1::text
RETURNING replay_until
