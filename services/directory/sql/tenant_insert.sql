-- params: id name time_zone currency_code
INSERT INTO directory.tenant (tenant_id, name, time_zone, currency_code, row_version)
VALUES ($1::uuid, $2::text, $3::text, $4::text, 1)
