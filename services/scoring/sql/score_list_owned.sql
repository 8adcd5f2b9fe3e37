-- params: tenant_id visible tier after_value after_id limit
-- As score_list, for those who do not see the whole company: by owner, since walking the company by
-- value finds the few customers of a rep last.
SELECT s.customer_id, s.value_score, s.tier, s.raw_tier, s.parts, s.reasons, s.orders_12m,
       s.amount_minor AS "amount_12m.minor_units", s.currency_code AS "amount_12m.currency_code",
       s.recency_days, s.last_order_at, s.scored_at, s.tier_since, s.policies
  FROM scoring.customer c
 CROSS JOIN LATERAL (
        SELECT * FROM scoring.score
         WHERE tenant_id = $1::uuid AND customer_id = c.id
         LIMIT 1) s
 WHERE c.tenant_id = $1::uuid AND c.owner_id = ANY ($2::uuid[])
   AND ($3::text IS NULL OR s.tier = $3::text)
   AND ($4::float8 IS NULL OR s.value_score < $4::float8
        OR (s.value_score = $4::float8 AND s.customer_id > $5::uuid))
 ORDER BY s.value_score DESC, s.customer_id
 LIMIT $6::int;
