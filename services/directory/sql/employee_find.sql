-- params: tenant_id id employee_no
SELECT id, employee_no, name, unit_id, roles, superior_id, home_city_code, active,
       row_version::text AS etag
  FROM directory.employee
 WHERE tenant_id = $1::uuid
   AND ($2::uuid IS NULL OR id = $2::uuid)
   AND ($3::text IS NULL OR employee_no = $3::text)
