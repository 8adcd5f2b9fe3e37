-- params: tenant_id id
-- Without a name only its tier is known yet.
SELECT name, owner_id, address, latitude, longitude
  FROM visits.customer WHERE tenant_id = $1::uuid AND id = $2::uuid AND name <> '';
