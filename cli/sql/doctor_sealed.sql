-- params:
WITH s AS (
    SELECT phone_sealed AS sealed FROM customers.contact
    UNION ALL SELECT email_sealed FROM customers.contact
    UNION ALL SELECT secret FROM reminders.channel
    UNION ALL SELECT old_secret FROM reminders.channel
    UNION ALL SELECT secret FROM gateway.endpoint
    UNION ALL SELECT old_secret FROM gateway.endpoint
), k AS (
    SELECT substr(sealed, 4, 8) AS key, count(*) AS n FROM s WHERE sealed <> '' GROUP BY 1
)
SELECT CASE WHEN count(*) = 1 THEN 'ok' ELSE 'warn' END AS level,
       CASE WHEN count(*) = 1 THEN 'all under the master key ' ELSE 'none of these master keys may be taken away yet: ' END
       || string_agg(format('%s (%s fields)', key, n), ', ' ORDER BY key) AS detail
  FROM k
HAVING count(*) > 0
