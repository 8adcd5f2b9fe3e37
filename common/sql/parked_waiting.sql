-- params: consumer aggregates
SELECT tenant_id, aggregate, min(seq) AS first_seq, bool_or(state = 'parked') AS is_parked
  FROM ${schema}.parked_event
 WHERE consumer = $1::text AND state <> 'done' AND aggregate = ANY ($2::text[])
 GROUP BY tenant_id, aggregate
