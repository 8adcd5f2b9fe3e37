-- params:
-- At most four fifths, or a burst of reconnecting daemons finds no place.
WITH n AS (
    SELECT count(*) FILTER (WHERE usename LIKE 'daybook\_%') AS ours, count(*) AS total,
           current_setting('max_connections')::int AS most
      FROM pg_catalog.pg_stat_activity
     WHERE backend_type = 'client backend'
)
SELECT 'warn' AS level, format('%s of %s connections are taken, %s of them by daemons: raise max_connections or lower DAYBOOK_WORKERS',
                               total, most, ours) AS detail
  FROM n
 WHERE total * 5 > most * 4
