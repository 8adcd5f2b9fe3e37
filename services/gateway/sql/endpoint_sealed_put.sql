-- params: tenant_id id secret_before old_before secret old_secret index
UPDATE gateway.endpoint
   SET secret = $5::text, old_secret = $6::text
 WHERE tenant_id = $1::uuid AND id = $2::uuid AND secret = $3::text
   AND old_secret IS NOT DISTINCT FROM $4::text AND $7::text IS NULL
