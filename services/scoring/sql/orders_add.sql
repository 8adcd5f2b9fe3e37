-- params: tenant_id customer_ids ids ordered_ats kinds amounts
INSERT INTO scoring.order_fact (tenant_id, customer_id, id, ordered_at, kind, amount_minor)
SELECT $1::uuid, o.*
  FROM unnest($2::uuid[], $3::uuid[], $4::timestamptz[], $5::text[], $6::bigint[]) AS o
    ON CONFLICT DO NOTHING;
