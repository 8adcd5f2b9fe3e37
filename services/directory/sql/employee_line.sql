-- params: tenant_id id limit
WITH RECURSIVE line AS (
    SELECT id, superior_id, active, 1 AS step FROM directory.employee
     WHERE tenant_id = $1::uuid AND id = $2::uuid
     UNION ALL
    SELECT e.id, e.superior_id, e.active, l.step + 1
      FROM directory.employee e JOIN line l ON e.id = l.superior_id
     WHERE e.tenant_id = $1::uuid AND l.step < $3::int)
SELECT id, active FROM line ORDER BY step
