-- params: tenant_id id
SELECT name, owner_id, address, latitude, longitude
  FROM visits.customer WHERE tenant_id = $1::uuid AND id = $2::uuid;
