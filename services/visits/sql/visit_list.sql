-- params: tenant_id visible visitor_id customer_id from to after_start after_id limit
-- The distance tells where a customer is: only to those who see him.
SELECT v.id, v.customer_id, v.contact_id, v.visitor_id, v.purposes, v.mode, v.starts_at, v.ends_at,
       v.place, v.goal, v.state, v.unregistered, v.late_arrival,
       v.checkin_at AS "check_in.at", v.checkin_device_at AS "check_in.device_at",
       v.checkin_latitude AS "check_in.position.latitude",
       v.checkin_longitude AS "check_in.position.longitude",
       v.checkin_accuracy_m AS "check_in.accuracy_m",
       CASE WHEN $2::uuid[] IS NULL OR c.owner_id = ANY ($2::uuid[]) THEN v.checkin_distance_m
            WHEN v.checkin_at IS NOT NULL THEN -1 END AS "check_in.distance_m",
       v.checkin_far AS "check_in.far", v.checked_out_at, v.report, v.reviewed_by,
       v.review_comment, v.row_version::text AS etag
  FROM visits.visit v
  LEFT JOIN visits.customer c ON c.tenant_id = v.tenant_id AND c.id = v.customer_id
 WHERE v.tenant_id = $1::uuid
   AND ($2::uuid[] IS NULL OR v.visitor_id = ANY ($2::uuid[]))
   AND ($3::uuid IS NULL OR v.visitor_id = $3::uuid)
   AND ($4::uuid IS NULL OR v.customer_id = $4::uuid)
   AND ($5::timestamptz IS NULL OR v.starts_at >= $5::timestamptz)
   AND ($6::timestamptz IS NULL OR v.starts_at < $6::timestamptz)
   AND ($7::timestamptz IS NULL OR (v.starts_at, v.id) > ($7::timestamptz, $8::uuid))
 ORDER BY v.starts_at, v.id
 LIMIT $9::int;
