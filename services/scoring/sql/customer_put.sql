-- params: tenant_id id owner_id potential_rating
INSERT INTO scoring.customer (tenant_id, id, owner_id, potential_rating)
VALUES ($1::uuid, $2::uuid, $3::uuid, coalesce($4::int, 0))
    ON CONFLICT (tenant_id, id) DO UPDATE
   SET owner_id = excluded.owner_id, potential_rating = excluded.potential_rating;
