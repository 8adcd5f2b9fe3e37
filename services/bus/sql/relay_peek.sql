-- params:
-- Cheap and without a lock: where the log stands, and the oldest row that waits.
SELECT h.log_id, h.last_seq, h.term, (SELECT min(o.id) FROM bus.outbox o) AS first_id
  FROM bus.head h
 WHERE h.one
