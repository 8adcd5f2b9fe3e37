-- params: tenant_id after_id limit until rules customer_id from_id
-- The next duties of those rules that one person owes one customer and that were known by then.
WITH held AS MATERIALIZED (
    SELECT id FROM reminders.obligation
     WHERE tenant_id = $1::uuid AND assignee_id = $7::uuid AND closed_at IS NULL
       AND customer_id = $6::uuid AND reminders.at(known_us) <= $4::timestamptz
       AND rule = ANY ($5::text[])
), stretch AS (
    SELECT id FROM held
     WHERE id > $2::uuid
     ORDER BY id
     LIMIT $3::int
)
SELECT count(*) AS n,
       (SELECT id FROM stretch ORDER BY id DESC LIMIT 1) AS last_id,
       array_agg(id) AS ids
  FROM stretch
