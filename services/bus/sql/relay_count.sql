-- params: limit
-- Counts the next events of the log by tenant and type, for GetHead. A leader whose time is over may
-- have waited for the row with an older head: nothing is counted twice, so it never goes back.
WITH was AS (
    SELECT seq FROM bus.counted WHERE one FOR UPDATE
), stretch AS (
    SELECT w.seq AS after, greatest(w.seq, least(h.last_seq, w.seq + $1::bigint)) AS upto
      FROM was w CROSS JOIN bus.head h
     WHERE h.one
), counts AS (
    INSERT INTO bus.type_count AS t (tenant_id, type, n)
    SELECT l.tenant_id, l.type, count(*)
      FROM stretch s JOIN bus.log l ON l.seq > s.after AND l.seq <= s.upto
     GROUP BY l.tenant_id, l.type
        ON CONFLICT (tenant_id, type) DO UPDATE SET n = t.n + excluded.n
)
UPDATE bus.counted c SET seq = s.upto FROM stretch s WHERE c.one
