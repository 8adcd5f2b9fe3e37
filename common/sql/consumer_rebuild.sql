-- params: consumer
UPDATE ${schema}.consumer_cursor c
   SET seq = 0, event_id = NULL,
       -- What was heard has had its live effects; what came since has them still to come. In a log
       -- that went back nobody can tell, so there all of it counts as heard.
       replay_until = GREATEST(c.replay_until,
                               CASE WHEN c.log_id = h.log_id THEN LEAST(c.seq, h.last_seq)
                                    ELSE h.last_seq END),
       starts = 0, trying_seq = 0, tries = 0
  FROM bus.head h
 WHERE c.consumer = $1::text
RETURNING c.replay_until
