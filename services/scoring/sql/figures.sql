-- params: tenant_id customer_ids at window_months
-- An order of the window counts as long as its cancellations leave something of it; what a
-- cancellation takes off counts in the amount in any case (5.1 F, M).
SELECT c.id, c.potential_rating, s.tier, s.tier_since, s.tier_version,
       coalesce(o.orders, 0) AS orders, coalesce(o.amount_minor, 0) AS amount_minor,
       l.last_order_at, greatest($3::timestamptz, s.scored_at) AS scored_at
  FROM scoring.customer c
  LEFT JOIN scoring.score s ON s.tenant_id = c.tenant_id AND s.customer_id = c.id
  LEFT JOIN LATERAL (
        SELECT count(*) FILTER (WHERE g.is_order AND g.amount_minor > 0)::int AS orders,
               least(greatest(sum(g.amount_minor), -9e18), 9e18)::bigint AS amount_minor
          FROM (SELECT bool_or(f.kind = 'order') AS is_order, sum(f.amount_minor) AS amount_minor
                  FROM scoring.order_fact f
                 WHERE f.tenant_id = c.tenant_id AND f.customer_id = c.id
                   AND f.ordered_at > greatest($3::timestamptz, s.scored_at) - make_interval(months => $4::int)
                   AND f.ordered_at <= greatest($3::timestamptz, s.scored_at)
                 GROUP BY f.order_id) g) o ON true
  LEFT JOIN LATERAL (
        SELECT max(ordered_at) AS last_order_at
          FROM scoring.order_fact f
         WHERE f.tenant_id = c.tenant_id AND f.customer_id = c.id AND f.kind = 'order'
           AND f.ordered_at <= greatest($3::timestamptz, s.scored_at)) l ON true
 WHERE c.tenant_id = $1::uuid AND c.id = ANY ($2::uuid[])
 ORDER BY c.id;
