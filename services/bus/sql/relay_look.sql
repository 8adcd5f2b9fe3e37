-- params: seq
-- What a relay that is about to lead must know: where the log stands, whether history went back
-- (timeline; event_id: what is at the seq that this process saw last), and whether ids of the outbox
-- are given out in the order of time (cache_size must be 1).
SELECT h.log_id, h.last_seq, h.timeline,
       ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int AS timeline_now,
       (SELECT l.event_id FROM bus.log l WHERE l.seq = $1::bigint) AS event_id,
       (SELECT s.seqcache FROM pg_catalog.pg_sequence s
         WHERE s.seqrelid = pg_get_serial_sequence('bus.outbox', 'id')::regclass) AS cache_size
  FROM bus.head h
 WHERE h.one
   FOR UPDATE OF h
