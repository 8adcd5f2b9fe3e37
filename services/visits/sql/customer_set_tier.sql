-- params: tenant_id customer_id new_tier
UPDATE visits.customer SET tier = $3::text WHERE tenant_id = $1::uuid AND id = $2::uuid;
