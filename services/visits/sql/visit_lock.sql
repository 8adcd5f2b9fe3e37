-- params: tenant_id id
SELECT v.id, v.customer_id, v.contact_id, v.visitor_id, v.purposes, v.mode, v.starts_at, v.ends_at,
       v.place, v.goal, v.state, v.unregistered, v.late_arrival,
       v.checkin_at AS "check_in.at", v.checkin_device_at AS "check_in.device_at",
       v.checkin_latitude AS "check_in.position.latitude",
       v.checkin_longitude AS "check_in.position.longitude",
       v.checkin_accuracy_m AS "check_in.accuracy_m", v.checkin_distance_m AS "check_in.distance_m",
       v.checkin_far AS "check_in.far", v.checked_out_at, v.report, v.reviewed_by,
       v.review_comment, v.row_version::text AS etag, v.unit_id AS _unit_id,
       c.owner_id AS _customer_owner
  FROM visits.visit v
  LEFT JOIN visits.customer c ON c.tenant_id = v.tenant_id AND c.id = v.customer_id
 WHERE v.tenant_id = $1::uuid AND v.id = $2::uuid FOR UPDATE OF v;
