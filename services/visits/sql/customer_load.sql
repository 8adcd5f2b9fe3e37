-- params: tenant_id id contact_id
-- Without a name only its tier is known yet.
SELECT name, owner_id, address, latitude, longitude,
       EXISTS (SELECT FROM visits.contact p
                WHERE p.tenant_id = $1::uuid AND p.id = $3::uuid AND p.customer_id = c.id)
           AS has_contact
  FROM visits.customer c WHERE tenant_id = $1::uuid AND id = $2::uuid AND name <> '';
