-- params: tenant_id after_id limit
-- The next timers of a company, whatever their rule, and those that were parked: a step is bounded by
-- what it looks at, not by what it finds.
WITH stretch AS (
    (SELECT obligation_id AS id FROM reminders.timer
      WHERE tenant_id = $1::uuid AND obligation_id > $2::uuid
      ORDER BY obligation_id
      LIMIT $3::int)
    UNION
    (SELECT obligation_id FROM reminders.timer_parked
      WHERE tenant_id = $1::uuid AND obligation_id > $2::uuid
      ORDER BY obligation_id
      LIMIT $3::int)
     ORDER BY id
     LIMIT $3::int
)
SELECT count(*) AS n,
       (SELECT id FROM stretch ORDER BY id DESC LIMIT 1) AS last_id,
       array_agg(id) AS ids
  FROM stretch
