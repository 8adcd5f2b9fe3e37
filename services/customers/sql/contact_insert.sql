-- params: tenant_id id customer_id name position decision_role phone_sealed phone phone_index email_sealed email birthday
INSERT INTO customers.contact (tenant_id, id, customer_id, name, position, decision_role,
       phone_sealed, phone_masked, phone_index, email_sealed, email_masked, birthday)
VALUES ($1::uuid, $2::uuid, $3::uuid, $4::text, coalesce($5::text, ''), coalesce($6::text, ''),
       coalesce($7::text, ''), coalesce($8::text, ''), $9::text, coalesce($10::text, ''),
       coalesce($11::text, ''), coalesce($12::text, ''));
