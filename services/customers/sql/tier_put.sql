-- params: tenant_id customer_id new_tier
INSERT INTO customers.customer_tier (tenant_id, customer_id, tier)
VALUES ($1::uuid, $2::uuid, $3::text)
    ON CONFLICT (tenant_id, customer_id) DO UPDATE SET tier = excluded.tier;
