-- params: tenant_id id name unit_id roles superior_id home_city_code active
UPDATE directory.employee
   SET name = $3::text, unit_id = $4::uuid, roles = $5::text[], superior_id = $6::uuid,
       home_city_code = $7::text, active = $8::boolean, row_version = row_version + 1
 WHERE tenant_id = $1::uuid AND id = $2::uuid
