-- params: tenant_id actor_id method key fingerprint reply_type reply created_at
INSERT INTO ${schema}.idempotency
       (tenant_id, actor_id, method, key, fingerprint, reply_type, reply, created_at)
VALUES ($1::uuid, $2::uuid, $3::text, $4::text, $5::bytea, $6::text, $7::bytea, $8::timestamptz)
