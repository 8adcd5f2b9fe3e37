-- params: tenant_id id phone_before email_before phone_sealed email_sealed phone_index
-- The index is that of the phone, and stays where that stays.
UPDATE customers.contact
   SET phone_sealed = $5::text, email_sealed = $6::text,
       phone_index = CASE WHEN $5::text = $3::text THEN phone_index ELSE $7::text END
 WHERE tenant_id = $1::uuid AND id = $2::uuid AND phone_sealed = $3::text AND email_sealed = $4::text
