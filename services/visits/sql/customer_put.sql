-- params: tenant_id id name owner_id address location.latitude location.longitude
INSERT INTO visits.customer (tenant_id, id, name, owner_id, address, latitude, longitude)
VALUES ($1::uuid, $2::uuid, $3::text, $4::uuid, $5::text, $6::float8, $7::float8)
    ON CONFLICT (tenant_id, id) DO UPDATE
   SET name = excluded.name, owner_id = excluded.owner_id, address = excluded.address,
       latitude = excluded.latitude, longitude = excluded.longitude;
