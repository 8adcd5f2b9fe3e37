-- params:
SELECT instance
  FROM ${schema}.member
 WHERE expires_at > clock_timestamp()
 ORDER BY instance
