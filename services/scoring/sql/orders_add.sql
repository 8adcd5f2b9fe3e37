-- params: tenant_id customer_ids ids ordered_ats kinds amounts order_ids
INSERT INTO scoring.order_fact (tenant_id, customer_id, id, ordered_at, kind, amount_minor, order_id)
SELECT $1::uuid, o.*
  FROM unnest($2::uuid[], $3::uuid[], $4::timestamptz[], $5::text[], $6::bigint[], $7::uuid[]) AS o
    ON CONFLICT DO NOTHING;
