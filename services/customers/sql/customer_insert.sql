-- params: tenant_id id external_ref.source external_ref.id name name_key relation_type key_account owner_id source industry company_size address location.latitude location.longitude city_code credit_code status potential_rating created_at row_version
INSERT INTO customers.customer (tenant_id, id, ref_source, ref_id, name, name_key, relation_type,
       key_account, owner_id, source, industry, company_size, address, latitude, longitude,
       city_code, credit_code, status, potential_rating, created_at, row_version)
VALUES ($1::uuid, $2::uuid, $3::text, $4::text, $5::text, $6::text, $7::text,
       coalesce($8::boolean, false), $9::uuid, $10::text, coalesce($11::text, ''), $12::text,
       coalesce($13::text, ''), $14::float8, $15::float8, coalesce($16::text, ''),
       coalesce($17::text, ''), $18::text, coalesce($19::int, 0), $20::timestamptz,
       $21::bigint);
