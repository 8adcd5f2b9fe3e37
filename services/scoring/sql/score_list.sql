-- params: tenant_id visible tier after_value after_id limit
SELECT customer_id, value_score, tier, raw_tier, parts, reasons, orders_12m,
       amount_minor AS "amount_12m.minor_units", currency_code AS "amount_12m.currency_code",
       recency_days, last_order_at, scored_at, tier_since, policies
  FROM scoring.score s
 WHERE tenant_id = $1::uuid
   AND ($2::uuid[] IS NULL OR EXISTS (SELECT FROM scoring.customer c
            WHERE c.tenant_id = s.tenant_id AND c.id = s.customer_id AND c.owner_id = ANY ($2::uuid[])))
   AND ($3::text IS NULL OR tier = $3::text)
   AND ($4::float8 IS NULL OR value_score < $4::float8
        OR (value_score = $4::float8 AND customer_id > $5::uuid))
 ORDER BY value_score DESC, customer_id
 LIMIT $6::int;
