-- params: shards
-- Ends the sessions of owners whose leases are over and who still hold rows of the table: they are
-- frozen (F08), and would hold them for as long as their host answers for their connections. Their
-- names end with the owner's (lease.h).
SELECT count(pg_terminate_backend(a.pid)) AS ousted
  FROM pg_catalog.pg_stat_activity a
 WHERE a.datname = current_database() AND a.usename = current_user AND a.pid <> pg_backend_pid()
   AND EXISTS (SELECT
                 FROM pg_catalog.pg_locks k
                WHERE k.pid = a.pid AND k.locktype = 'relation' AND k.granted
                  AND k.relation = '${schema}.shard_lease'::regclass)
   AND EXISTS (SELECT
                 FROM ${schema}.shard_lease l
                WHERE l.shard = ANY ($1::smallint[]) AND l.expires_at <= clock_timestamp()
                  AND starts_with(a.application_name, 'daybook-${schema}/')
                  AND substr(a.application_name, strpos(a.application_name, '@') + 1)
                      = right(l.owner, 36))
