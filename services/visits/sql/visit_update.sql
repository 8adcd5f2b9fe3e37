-- params: tenant_id id state unregistered late_arrival check_in.at check_in.device_at check_in.position.latitude check_in.position.longitude check_in.accuracy_m check_in.distance_m check_in.far checked_out_at report reviewed_by review_comment purposes place goal unit_id changed_at
-- sequence: what calendars must tell their owners of; a change of the times would belong here too.
UPDATE visits.visit
   SET state = $3::text, unregistered = coalesce($4::boolean, false),
       late_arrival = coalesce($5::boolean, false), checkin_at = $6::timestamptz,
       checkin_device_at = $7::timestamptz, checkin_latitude = $8::float8,
       checkin_longitude = $9::float8, checkin_accuracy_m = $10::float8,
       checkin_distance_m = $11::float8, checkin_far = $12::boolean,
       checked_out_at = $13::timestamptz, report = $14::jsonb, reviewed_by = $15::uuid,
       review_comment = $16::text, purposes = $17::text[], place = coalesce($18::text, ''),
       goal = coalesce($19::text, ''), unit_id = coalesce($20::uuid, unit_id),
       changed_at = $21::timestamptz,
       sequence = CASE WHEN state = $3::text AND place = coalesce($18::text, '')
                       THEN coalesce(sequence, row_version) ELSE row_version + 1 END,
       row_version = row_version + 1
 WHERE tenant_id = $1::uuid AND id = $2::uuid;
