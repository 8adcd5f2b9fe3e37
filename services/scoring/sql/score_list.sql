-- params: tenant_id tier after_value after_id limit
SELECT customer_id, value_score, tier, raw_tier, parts, reasons, orders_12m,
       amount_minor AS "amount_12m.minor_units", currency_code AS "amount_12m.currency_code",
       recency_days, last_order_at, scored_at, tier_since, policies
  FROM scoring.score
 WHERE tenant_id = $1::uuid
   AND ($2::text IS NULL OR tier = $2::text)
   AND ($3::float8 IS NULL OR value_score < $3::float8
        OR (value_score = $3::float8 AND customer_id > $4::uuid))
 ORDER BY value_score DESC, customer_id
 LIMIT $5::int;
