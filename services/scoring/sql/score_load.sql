-- params: tenant_id customer_id
SELECT customer_id, value_score, tier, raw_tier, parts, reasons, orders_12m,
       amount_minor AS "amount_12m.minor_units", currency_code AS "amount_12m.currency_code",
       recency_days, last_order_at, scored_at, tier_since, policies
  FROM scoring.score WHERE tenant_id = $1::uuid AND customer_id = $2::uuid;
