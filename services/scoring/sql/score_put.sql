-- params: tenant_id customer_id value_score tier raw_tier parts reasons orders_12m amount_12m.minor_units amount_12m.currency_code recency_days last_order_at scored_at tier_since tier_version policies
INSERT INTO scoring.score (tenant_id, customer_id, value_score, tier, raw_tier, parts, reasons,
       orders_12m, amount_minor, currency_code, recency_days, last_order_at, scored_at, tier_since,
       tier_version, policies)
VALUES ($1::uuid, $2::uuid, coalesce($3::float8, 0), $4::text, $5::text,
       coalesce($6::jsonb, '[]'), coalesce($7::text[], '{}'), coalesce($8::int, 0),
       coalesce($9::bigint, 0), $10::text, coalesce($11::int, 0), $12::timestamptz,
       $13::timestamptz, $14::timestamptz, $15::bigint, coalesce($16::jsonb, '[]'))
    ON CONFLICT (tenant_id, customer_id) DO UPDATE
   SET value_score = excluded.value_score, tier = excluded.tier, raw_tier = excluded.raw_tier,
       parts = excluded.parts, reasons = excluded.reasons, orders_12m = excluded.orders_12m,
       amount_minor = excluded.amount_minor, currency_code = excluded.currency_code,
       recency_days = excluded.recency_days, last_order_at = excluded.last_order_at,
       scored_at = excluded.scored_at, tier_since = excluded.tier_since,
       tier_version = excluded.tier_version, policies = excluded.policies;
