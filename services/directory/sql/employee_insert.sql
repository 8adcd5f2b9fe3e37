-- params: tenant_id id employee_no name unit_id roles superior_id home_city_code active
INSERT INTO directory.employee (tenant_id, id, employee_no, name, unit_id, roles, superior_id,
       home_city_code, active, row_version)
VALUES ($1::uuid, $2::uuid, $3::text, $4::text, $5::uuid, $6::text[], $7::uuid, $8::text,
       $9::boolean, 1)
