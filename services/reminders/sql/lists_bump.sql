-- params: tenant_id employees
-- Versions are moments, not counts: after a crash of the server that took the last bumps back, none
-- is given out a second time for another list (the cache may hold the first).
INSERT INTO reminders.list_version AS v (tenant_id, employee_id, version)
SELECT $1::uuid, e, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
  FROM unnest($2::uuid[]) AS e
 ORDER BY e
ON CONFLICT (tenant_id, employee_id) DO UPDATE
   SET version = greatest(v.version + 1, excluded.version)
