-- params: tenant_id id name name_key relation_type key_account owner_id source industry company_size address location.latitude location.longitude city_code credit_code status potential_rating
UPDATE customers.customer
   SET name = $3::text, name_key = $4::text, relation_type = $5::text,
       key_account = coalesce($6::boolean, false), owner_id = $7::uuid, source = $8::text,
       industry = coalesce($9::text, ''), company_size = $10::text,
       address = coalesce($11::text, ''), latitude = $12::float8, longitude = $13::float8,
       city_code = coalesce($14::text, ''), credit_code = coalesce($15::text, ''),
       status = $16::text, potential_rating = coalesce($17::int, 0),
       row_version = row_version + 1
 WHERE tenant_id = $1::uuid AND id = $2::uuid;
