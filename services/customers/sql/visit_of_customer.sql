-- params: tenant_id customer_id subject employee_id
-- One row always. While the events are heard anew what is not there may still come: both are read in
-- one statement, so that no rebuild falls in between.
SELECT count(*) > 0 AS known, min(began_at) AS began_at, max(ended_at) AS ended_at,
       coalesce(bool_and(visit_mode = 'in_person'), false) AS in_person,
       coalesce(bool_and(visitor_id = $4::uuid), false) AS own,
       (SELECT coalesce(bool_or(replay_until > 0), false)
          FROM customers.consumer_cursor) AS replaying
  FROM customers.foreign_event
 WHERE tenant_id = $1::uuid AND customer_id = $2::uuid AND kind = 'visit' AND subject = $3::text;
