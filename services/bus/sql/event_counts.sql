-- params: tenant_id
SELECT type, count(*) AS count
  FROM bus.log
 WHERE $1::uuid IS NULL OR tenant_id = $1::uuid
 GROUP BY type
 ORDER BY count(*) DESC, type
