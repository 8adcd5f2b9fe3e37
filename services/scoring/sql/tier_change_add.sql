-- params: tenant_id customer_id tier_version old_tier tier scored_at value_score reasons
INSERT INTO scoring.tier_change (tenant_id, customer_id, tier_version, old_tier, new_tier,
       changed_at, value_score, reasons)
VALUES ($1::uuid, $2::uuid, $3::bigint, $4::text, $5::text, $6::timestamptz,
       coalesce($7::float8, 0), coalesce($8::text[], '{}'));
