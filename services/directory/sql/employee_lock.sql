-- params: tenant_id id
SELECT id, employee_no, name, unit_id, roles, superior_id, home_city_code, active,
       row_version::text AS etag
  FROM directory.employee
 WHERE tenant_id = $1::uuid AND id = $2::uuid
   FOR UPDATE
