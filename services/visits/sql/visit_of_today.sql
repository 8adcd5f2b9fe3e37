-- params: tenant_id visitor_id customer_id day_start day_end opens now
-- A visit for which the visitor may mean to check in: asked for or approved for the local day, or
-- with an open window (CON-23); or checked in today and not out yet.
SELECT id, state
  FROM visits.visit
 WHERE tenant_id = $1::uuid AND visitor_id = $2::uuid AND customer_id = $3::uuid
   AND mode = 'in_person'
   AND ((state IN ('requested', 'approved')
         AND (starts_at >= $4::timestamptz AND starts_at < $5::timestamptz
              OR starts_at <= $6::timestamptz AND ends_at >= $7::timestamptz))
        OR (state = 'checked_in' AND checkin_at >= $4::timestamptz
            AND checkin_at < $5::timestamptz))
 ORDER BY starts_at
 LIMIT 1;
