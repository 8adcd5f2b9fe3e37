-- params: tenant_id id
SELECT id, customer_id, contact_id, visitor_id, purposes, mode, starts_at, ends_at, place, goal, state,
       unregistered, late_arrival,
       checkin_at AS "check_in.at", checkin_device_at AS "check_in.device_at",
       checkin_latitude AS "check_in.position.latitude",
       checkin_longitude AS "check_in.position.longitude",
       checkin_accuracy_m AS "check_in.accuracy_m", checkin_distance_m AS "check_in.distance_m",
       checkin_far AS "check_in.far", checked_out_at, report, reviewed_by, review_comment,
       row_version::text AS etag
  FROM visits.visit WHERE tenant_id = $1::uuid AND id = $2::uuid;
