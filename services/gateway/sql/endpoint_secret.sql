-- params: tenant_id id secret keep_old
UPDATE gateway.endpoint
   SET old_secret = CASE WHEN $4::boolean THEN secret END,
       old_secret_until = CASE WHEN $4::boolean THEN clock_timestamp() + interval '24 hours' END,
       secret = $3::text, row_version = row_version + 1
 WHERE tenant_id = $1::uuid AND id = $2::uuid
RETURNING old_secret_until
