-- Which tables could not be spread over shards by tenant_id (Citus), and why: one row for each fault. Run by
-- tools/check_sql.c on a database that all migrations have made; see docs/scaling.md.
--
-- Every table is distributed by tenant_id unless it stands in `exceptions`, which must be exact. "local" is kept in
-- one place, on the coordinator; "reference" is copied to every node. A pattern with % stands for one table of each schema.
WITH exceptions (name, kind, reason) AS (VALUES
    ('bus.outbox',         'local', 'ids in the order of time over all companies; emptied at once'),
    ('bus.log',            'local', 'seq has no hole over all companies; event_id is unique'),
    ('bus.head',           'local', 'one row, whose lock orders the log'),
    ('bus.tenant_head',    'local', 'written with the log, in its transaction'),
    ('bus.type_count',     'local', 'written with the log, in its transaction'),
    ('bus.counted',        'local', 'one row'),
    ('%.consumer_cursor',  'local', 'a place in the log; no company''s'),
    ('%.parked_event',     'local', 'by place in the log, over all companies'),
    ('%.shard_lease',      'local', 'work shared between replicas; no company''s'),
    ('%.member',           'local', 'replicas; no company''s'),
    ('directory.revision', 'local', 'one row, which tells daemons to read anew'),
    ('directory.credential', 'local', 'a CURVE key is unique over all companies, and finds its company'),
    ('directory.tenant',   'reference', 'a row a company; credentials refer to it as well as distributed tables'),
    ('%.schema_version',   'local', 'migrations; no company''s')
), tables AS (
    SELECT c.oid, n.nspname || '.' || c.relname AS name, x.name AS excepted, x.reason,
           coalesce(x.kind, 'distributed') AS kind,
           (SELECT a.attnum FROM pg_attribute a
             WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND a.atttypid = 'uuid'::regtype) AS tenant
      FROM pg_class c
      JOIN pg_namespace n ON n.oid = c.relnamespace
      LEFT JOIN exceptions x ON n.nspname || '.' || c.relname LIKE replace(x.name, '_', '\_')
     WHERE c.relkind IN ('r', 'p') AND n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'
), distributed AS (
    SELECT * FROM tables WHERE kind = 'distributed'
)
SELECT x.name AS what, 'stands in the list of exceptions, but there is no such table' AS fault
  FROM exceptions x
 WHERE NOT EXISTS (SELECT FROM tables t WHERE t.excepted = x.name)
UNION ALL
SELECT name, 'matches two exceptions' FROM tables GROUP BY name HAVING count(*) > 1
UNION ALL
SELECT name, 'has no tenant_id of type uuid' FROM distributed WHERE tenant IS NULL
UNION ALL
SELECT d.name, 'has no primary key'
  FROM distributed d
 WHERE NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = d.oid AND i.indisprimary)
UNION ALL
SELECT d.name, format('%s is unique without tenant_id', i.indexrelid::regclass)
  FROM distributed d
  JOIN pg_index i ON i.indrelid = d.oid AND i.indisunique
 WHERE d.tenant IS NOT NULL AND d.tenant <> ALL (i.indkey::int2[])
UNION ALL
SELECT d.name, format('%s excludes rows of other companies too', c.conname)
  FROM distributed d
  JOIN pg_constraint c ON c.conrelid = d.oid AND c.contype = 'x'
 WHERE NOT EXISTS (SELECT FROM unnest(c.conkey, c.conexclop) AS k (attnum, op)
                    WHERE k.attnum = d.tenant AND k.op = 'pg_catalog.=(uuid,uuid)'::regoperator)
UNION ALL
-- A foreign key stays in one place: tenant_id to tenant_id between distributed tables, else to what is everywhere.
SELECT f.name, format('%s refers to %s, which may be on another node', c.conname, t.name)
  FROM tables f
  JOIN pg_constraint c ON c.conrelid = f.oid AND c.contype = 'f'
  JOIN tables t ON t.oid = c.confrelid
 WHERE t.kind <> 'reference'
   AND NOT (f.kind = 'local' AND t.kind = 'local')
   AND NOT (f.kind = 'distributed' AND t.kind = 'distributed' AND EXISTS (
           SELECT FROM unnest(c.conkey, c.confkey) AS k (own, their) WHERE k.own = f.tenant AND k.their = t.tenant))
UNION ALL
SELECT d.name, format('%s takes its values from a sequence, which no other node knows', a.attname)
  FROM distributed d
  JOIN pg_attribute a ON a.attrelid = d.oid AND NOT a.attisdropped
 WHERE a.attidentity <> '' OR pg_get_serial_sequence(d.name, a.attname) IS NOT NULL
UNION ALL
SELECT d.name, format('has the trigger %s', g.tgname)
  FROM distributed d
  JOIN pg_trigger g ON g.tgrelid = d.oid AND NOT g.tgisinternal
UNION ALL
SELECT d.name, format('has the rule %s', r.rulename)
  FROM distributed d
  JOIN pg_rewrite r ON r.ev_class = d.oid
 ORDER BY 1, 2
