-- params: tenant_id before
DELETE FROM ${schema}.idempotency
 WHERE tenant_id = $1::uuid
   AND (actor_id, method, key) IN
       (SELECT actor_id, method, key
          FROM ${schema}.idempotency
         WHERE tenant_id = $1::uuid AND created_at < $2::timestamptz
         ORDER BY created_at
         LIMIT 1000
           FOR UPDATE SKIP LOCKED)
RETURNING 1
