-- params: tenant_id unit_id after_no limit
SELECT id, employee_no, name, unit_id, roles, superior_id, home_city_code, active,
       row_version::text AS etag
  FROM directory.employee
 WHERE tenant_id = $1::uuid
   AND ($2::uuid IS NULL
        OR unit_id IN (WITH RECURSIVE below AS (
                           SELECT id FROM directory.unit
                            WHERE tenant_id = $1::uuid AND id = $2::uuid
                            UNION
                           SELECT u.id FROM directory.unit u JOIN below b ON u.parent_id = b.id
                            WHERE u.tenant_id = $1::uuid)
                       SELECT id FROM below))
   AND ($3::text IS NULL OR employee_no > $3::text)
 ORDER BY employee_no
 LIMIT $4::int
