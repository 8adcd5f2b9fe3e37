-- params:
SELECT 'warn' AS level, 'archive_mode is off: a lost disk loses all since the last backup' AS detail
 WHERE current_setting('archive_mode') = 'off'
UNION ALL
SELECT 'fail', format('the WAL has not been archived since %s: %s', coalesce(last_archived_time::text, 'ever'),
                      last_failed_wal)
  FROM pg_catalog.pg_stat_archiver
 WHERE last_failed_time > coalesce(last_archived_time, '-infinity')
