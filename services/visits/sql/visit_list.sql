-- params: tenant_id visible visitor_id customer_id from to after_start after_id limit
SELECT id, customer_id, contact_id, visitor_id, purposes, mode, starts_at, ends_at, place, goal, state,
       unregistered, late_arrival,
       checkin_at AS "check_in.at", checkin_device_at AS "check_in.device_at",
       checkin_latitude AS "check_in.position.latitude",
       checkin_longitude AS "check_in.position.longitude",
       checkin_accuracy_m AS "check_in.accuracy_m", checkin_distance_m AS "check_in.distance_m",
       checkin_far AS "check_in.far", checked_out_at, report, reviewed_by, review_comment,
       row_version::text AS etag
  FROM visits.visit
 WHERE tenant_id = $1::uuid
   AND ($2::uuid[] IS NULL OR visitor_id = ANY ($2::uuid[]))
   AND ($3::uuid IS NULL OR visitor_id = $3::uuid)
   AND ($4::uuid IS NULL OR customer_id = $4::uuid)
   AND ($5::timestamptz IS NULL OR starts_at >= $5::timestamptz)
   AND ($6::timestamptz IS NULL OR starts_at < $6::timestamptz)
   AND ($7::timestamptz IS NULL OR (starts_at, id) > ($7::timestamptz, $8::uuid))
 ORDER BY starts_at, id
 LIMIT $9::int;
