-- params: key
-- Ends the session of a leader that holds the lock and does nothing: it is frozen (F08), and would
-- hold the lock for as long as its host answers for its connection. Its term is over then.
SELECT count(pg_terminate_backend(l.pid)) AS ousted
  FROM pg_catalog.pg_locks l
 WHERE l.locktype = 'advisory' AND l.granted
   AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database())
   AND (l.classid::bigint << 32 | l.objid::bigint) = $1::bigint AND l.objsubid = 1
   AND l.pid <> pg_backend_pid()
   -- One that is at work is slow, not frozen: two slow buses would oust each other for ever.
   AND EXISTS (SELECT FROM pg_catalog.pg_stat_activity a
                WHERE a.pid = l.pid
                  AND (a.state = 'idle' OR a.wait_event = 'ClientWrite' OR (a.state LIKE 'idle in transaction%'
                                            AND a.state_change < clock_timestamp() - interval '2 s')))
