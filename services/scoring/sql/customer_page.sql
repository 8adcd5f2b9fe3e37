-- params: tenant_id after_id limit
SELECT id FROM scoring.customer
 WHERE tenant_id = $1::uuid AND ($2::uuid IS NULL OR id > $2::uuid)
 ORDER BY id
 LIMIT $3::int;
