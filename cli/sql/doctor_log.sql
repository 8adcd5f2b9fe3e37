-- params:
WITH l AS (
    SELECT coalesce(min(seq), 1) AS first, coalesce(max(seq), 0) AS last, count(*) AS n FROM bus.log
), t AS (
    SELECT ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int AS now WHERE NOT pg_is_in_recovery()
)
SELECT 'fail' AS level, format('%s events are missing between %s and %s', last - first + 1 - n, first, last) AS detail
  FROM l
 WHERE n <> last - first + 1
UNION ALL
SELECT 'fail', format('the newest event is %s, but the head says %s', l.last, h.last_seq)
  FROM bus.head h, l
 WHERE h.last_seq <> l.last
UNION ALL
SELECT 'warn', 'the database was restored or failed over, and no bus has led since: the log gets its new id when one starts'
  FROM bus.head h, t
 WHERE h.timeline NOT IN (0, t.now)
