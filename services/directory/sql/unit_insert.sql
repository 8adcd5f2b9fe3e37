-- params: tenant_id id code name parent_id city_code
INSERT INTO directory.unit (tenant_id, id, code, name, parent_id, city_code, row_version)
VALUES ($1::uuid, $2::uuid, $3::text, $4::text, $5::uuid, $6::text, 1)
