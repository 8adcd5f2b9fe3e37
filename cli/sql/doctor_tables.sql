-- params:
SELECT 'fail' AS level, format('index %s is not valid: REINDEX INDEX CONCURRENTLY', i.indexrelid::regclass) AS detail
  FROM pg_catalog.pg_index i
 WHERE NOT i.indisvalid
UNION ALL
SELECT 'fail', format('transaction numbers of %s run out: %s million are not frozen', datname, age(datfrozenxid) / 1000000)
  FROM pg_catalog.pg_database
 WHERE datname = current_database() AND age(datfrozenxid) > 1000000000
