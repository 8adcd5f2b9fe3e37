-- params: limit term sequenced_at
-- Moves a batch from the outbox to the log under the lock on bus.head (protocols F.3). A relay
-- whose term is over finds no head and moves nothing (F59).
WITH head AS (
    SELECT last_seq FROM bus.head WHERE one AND term = $2::bigint
), batch AS (
    SELECT o.id FROM bus.outbox o
     WHERE EXISTS (SELECT FROM head)
     ORDER BY o.id LIMIT $1::bigint
       FOR UPDATE OF o
), moved AS (
    DELETE FROM bus.outbox o USING batch b WHERE o.id = b.id RETURNING o.*
), numbered AS (
    SELECT m.*, h.last_seq + row_number() OVER (ORDER BY m.id) AS seq
      FROM moved m CROSS JOIN head h
), chained AS (
    SELECT n.*, coalesce(lag(n.seq) OVER (PARTITION BY n.tenant_id ORDER BY n.seq),
                         t.last_seq, 0) AS prev_seq
      FROM numbered n
      LEFT JOIN bus.tenant_head t ON t.tenant_id = n.tenant_id
), logged AS (
    INSERT INTO bus.log (seq, prev_seq, event_id, tenant_id, type, aggregate, aggregate_version,
                         occurred_at, actor_id, request_id, traceparent, payload, sequenced_at,
                         method, remote_address, fields)
    SELECT seq, prev_seq, event_id, tenant_id, type, aggregate, aggregate_version,
           occurred_at, actor_id, request_id, traceparent, payload, $3::timestamptz,
           method, remote_address, fields
      FROM chained
    RETURNING *
), tenants AS (
    INSERT INTO bus.tenant_head (tenant_id, last_seq)
    SELECT tenant_id, max(seq) FROM numbered GROUP BY tenant_id
        ON CONFLICT (tenant_id) DO UPDATE SET last_seq = excluded.last_seq
), advanced AS (
    UPDATE bus.head SET last_seq = last_seq + (SELECT count(*) FROM logged)
     WHERE one AND term = $2::bigint AND (SELECT count(*) FROM logged) > 0
)
SELECT event_id, tenant_id, type, aggregate, aggregate_version, seq, prev_seq, occurred_at,
       actor_id, request_id, traceparent, method, remote_address, fields,
       'type.googleapis.com/' || type AS "data.type_url", payload AS "data.value"
  FROM logged
 ORDER BY seq
