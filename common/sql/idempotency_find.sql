-- params: tenant_id actor_id method key
SELECT fingerprint, reply_type, reply
  FROM ${schema}.idempotency
 WHERE tenant_id = $1::uuid AND actor_id = $2::uuid AND method = $3::text AND key = $4::text
