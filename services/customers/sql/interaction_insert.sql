-- params: tenant_id id customer_id contact_id employee_id channel direction ended_at content needs result next_step next_contact_at satisfaction state recorded_at late external_ref.source external_ref.id
INSERT INTO customers.interaction (tenant_id, id, customer_id, contact_id, employee_id, channel,
       direction, ended_at, content, needs, result, next_step, next_contact_at, satisfaction, state,
       recorded_at, late, ref_source, ref_id, row_version)
VALUES ($1::uuid, $2::uuid, $3::uuid, $4::uuid, $5::uuid, $6::text, $7::text, $8::timestamptz,
       coalesce($9::text, ''), coalesce($10::text, ''), coalesce($11::text, ''),
       coalesce($12::text, ''), $13::timestamptz, coalesce($14::int, 0), $15::text,
       $16::timestamptz, coalesce($17::boolean, false), $18::text, $19::text, 1);
