-- params:
-- Exact up to 10 000 rows; above, the span of ids says the order of magnitude, which is all that an
-- alert needs, without reading a million rows.
SELECT CASE WHEN few.n < 10000 THEN few.n
            ELSE (SELECT max(o.id) - min(o.id) + 1 FROM bus.outbox o) END AS rows,
       (SELECT o.occurred_at FROM bus.outbox o ORDER BY o.id LIMIT 1) AS oldest_at
  FROM (SELECT count(*) AS n FROM (SELECT FROM bus.outbox LIMIT 10000) AS first) AS few
