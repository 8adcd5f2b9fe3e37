-- params: tenant_id customer_id new_tier
-- The file may come later: its event can be parked while tiers go on. Until then it has no name.
INSERT INTO visits.customer (tenant_id, id, name, tier) VALUES ($1::uuid, $2::uuid, '', $3::text)
    ON CONFLICT (tenant_id, id) DO UPDATE SET tier = excluded.tier;
