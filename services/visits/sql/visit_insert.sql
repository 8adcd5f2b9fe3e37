-- params: tenant_id id customer_id contact_id visitor_id purposes mode starts_at ends_at place goal state unregistered late_arrival check_in.at check_in.device_at check_in.position.latitude check_in.position.longitude check_in.accuracy_m check_in.distance_m check_in.far changed_at
INSERT INTO visits.visit (tenant_id, id, customer_id, contact_id, visitor_id, purposes, mode,
       starts_at, ends_at, place, goal, state, unregistered, late_arrival, checkin_at,
       checkin_device_at, checkin_latitude, checkin_longitude, checkin_accuracy_m,
       checkin_distance_m, checkin_far, changed_at, sequence, row_version)
VALUES ($1::uuid, $2::uuid, $3::uuid, $4::uuid, $5::uuid, $6::text[], $7::text, $8::timestamptz,
       $9::timestamptz, coalesce($10::text, ''), coalesce($11::text, ''), $12::text, coalesce($13::boolean, false),
       coalesce($14::boolean, false), $15::timestamptz, $16::timestamptz, $17::float8, $18::float8,
       $19::float8, $20::float8, $21::boolean, $22::timestamptz, 1, 1);
