-- params: tenant_id id contact_id content needs result next_step next_contact_at satisfaction recorded_at late
UPDATE customers.interaction
   SET contact_id = $3::uuid, content = $4::text, needs = coalesce($5::text, ''),
       result = coalesce($6::text, ''), next_step = coalesce($7::text, ''),
       next_contact_at = $8::timestamptz, satisfaction = coalesce($9::int, 0), state = 'recorded',
       recorded_at = $10::timestamptz, late = coalesce($11::boolean, false),
       row_version = row_version + 1
 WHERE tenant_id = $1::uuid AND id = $2::uuid;
