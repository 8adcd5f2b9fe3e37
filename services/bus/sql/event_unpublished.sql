-- params:
-- The head comes along, of the same moment: what the outbox has lost since, the log has.
SELECT h.log_id, h.last_seq AS head_seq,
       (SELECT count(*) FROM (SELECT FROM bus.outbox LIMIT 10000) AS first) AS unpublished
  FROM bus.head h
 WHERE h.one
