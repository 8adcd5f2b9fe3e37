-- params: tenant_id customer_ids at window_months
-- One customer after the other, by keys: left to itself the planner, before it has statistics, reads
-- a whole company for one batch. An order of the window counts as long as its cancellations leave
-- something of it; what a cancellation takes off counts in the amount in any case (5.1 F, M). The last
-- order is one of which something is left, too, however long ago it was.
SELECT c.id, c.potential_rating, s.tier, s.tier_since, s.tier_version,
       coalesce(o.orders, 0) AS orders, coalesce(o.amount_minor, 0) AS amount_minor,
       l.last_order_at, greatest($3::timestamptz, s.scored_at) AS scored_at
  FROM (SELECT DISTINCT unnest($2::uuid[]) AS id) i
 CROSS JOIN LATERAL (
        SELECT id, potential_rating FROM scoring.customer
         WHERE tenant_id = $1::uuid AND id = i.id
         LIMIT 1) c
  LEFT JOIN LATERAL (
        SELECT tier, tier_since, tier_version, scored_at FROM scoring.score
         WHERE tenant_id = $1::uuid AND customer_id = i.id
         LIMIT 1) s ON true
  LEFT JOIN LATERAL (
        SELECT count(*) FILTER (WHERE g.is_order AND g.amount_minor > 0)::int AS orders,
               least(greatest(sum(g.amount_minor), -9e18), 9e18)::bigint AS amount_minor
          FROM (SELECT bool_or(f.kind = 'order') AS is_order, sum(f.amount_minor) AS amount_minor
                  FROM scoring.order_fact f
                 WHERE f.tenant_id = $1::uuid AND f.customer_id = i.id
                   AND f.ordered_at > greatest($3::timestamptz, s.scored_at) - make_interval(months => $4::int)
                   AND f.ordered_at <= greatest($3::timestamptz, s.scored_at)
                 GROUP BY f.order_id) g) o ON true
  LEFT JOIN LATERAL (
        SELECT max(g.ordered_at) FILTER (WHERE g.amount_minor > 0) AS last_order_at
          FROM (SELECT max(f.ordered_at) FILTER (WHERE f.kind = 'order') AS ordered_at,
                       sum(f.amount_minor) AS amount_minor
                  FROM scoring.order_fact f
                 WHERE f.tenant_id = $1::uuid AND f.customer_id = i.id
                   AND f.ordered_at <= greatest($3::timestamptz, s.scored_at)
                 GROUP BY f.order_id) g) l ON true
 ORDER BY c.id;
