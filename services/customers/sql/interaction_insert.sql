-- params: tenant_id id customer_id contact_id employee_id unit_id visit_id channel direction ended_at content needs result next_step next_contact_at satisfaction state recorded_at late external_ref.source external_ref.id
INSERT INTO customers.interaction (tenant_id, id, customer_id, contact_id, employee_id, unit_id,
       visit_id, channel, direction, ended_at, content, needs, result, next_step, next_contact_at,
       satisfaction, state, recorded_at, late, ref_source, ref_id, row_version)
VALUES ($1::uuid, $2::uuid, $3::uuid, $4::uuid, $5::uuid, $6::uuid, $7::uuid, $8::text, $9::text,
       $10::timestamptz, coalesce($11::text, ''), coalesce($12::text, ''), coalesce($13::text, ''),
       coalesce($14::text, ''), $15::timestamptz, coalesce($16::int, 0), $17::text,
       $18::timestamptz, coalesce($19::boolean, false), $20::text, $21::text, 1);
