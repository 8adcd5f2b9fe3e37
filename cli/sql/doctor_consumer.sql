-- params:
-- A cursor is sound when its event is at its place in the log, whatever id the log has now (F15).
SELECT 'fail' AS level, format('has come to %s, but the log ends at %s: daybook rebuild ${schema}', c.seq, h.last_seq) AS detail
  FROM ${schema}.consumer_cursor c, bus.head h
 WHERE c.seq > h.last_seq
UNION ALL
SELECT 'fail', format('what it took as event %s is another in the log now: daybook rebuild ${schema}', c.seq)
  FROM ${schema}.consumer_cursor c
  JOIN bus.log l ON l.seq = c.seq
 WHERE c.event_id IS NOT NULL AND l.event_id <> c.event_id
UNION ALL
SELECT 'warn', format('%s events are parked: daybook events parked ${schema}', count(*))
  FROM ${schema}.parked_event
 WHERE state <> 'done'
HAVING count(*) > 0
