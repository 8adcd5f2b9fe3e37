-- params:
SELECT 'fail' AS level, 'PostgreSQL ' || current_setting('server_version') || ' is older than 15' AS detail
 WHERE current_setting('server_version_num')::int < 150000
UNION ALL
SELECT 'fail', 'this is a standby: DAYBOOK_MIGRATE_URL should name the primary'
 WHERE pg_is_in_recovery()
UNION ALL
SELECT 'fail', name || ' is off: a crash of the machine loses what was acknowledged'
  FROM unnest(ARRAY['fsync', 'full_page_writes', 'synchronous_commit']) AS name
 WHERE current_setting(name) = 'off'
