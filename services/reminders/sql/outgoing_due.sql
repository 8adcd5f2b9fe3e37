-- params: lanes limit
SELECT o.tenant_id, o.delivery_id, o.lane
  FROM unnest($1::smallint[]) AS l (lane),
       LATERAL (SELECT tenant_id, delivery_id, lane, next_try_at
                  FROM reminders.outgoing
                 WHERE lane = l.lane AND next_try_at <= clock_timestamp()
                 ORDER BY next_try_at
                 LIMIT $2::int) AS o
 ORDER BY o.next_try_at
 LIMIT $2::int
