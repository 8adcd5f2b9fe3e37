-- params:
SELECT tenant_id, id, unit_id, superior_id, employee_no, name, home_city_code, active,
       array_to_string(roles, ',') AS roles
  FROM directory_api.employee
 ORDER BY tenant_id
