-- params: tenant_id ids used_at secret_hashes
-- Always in the order of the ids, so that two gateways do not wait for each other crosswise. A key whose hash is to be
-- another one is written even if a later use of it is known (F56).
WITH used AS (
    SELECT c.id, u.used_at, u.secret_hash
      FROM directory.credential c
      JOIN unnest($2::uuid[], $3::timestamptz[], $4::text[]) AS u (id, used_at, secret_hash) ON u.id = c.id
     WHERE c.tenant_id = $1::uuid AND c.kind <> 'curve'
       AND (c.last_used_at IS NULL OR c.last_used_at < u.used_at
            OR u.secret_hash <> '' AND c.secret_hash <> u.secret_hash AND c.revoked_at IS NULL)
     ORDER BY c.id
       FOR UPDATE OF c
)
UPDATE directory.credential c
   SET last_used_at = greatest(c.last_used_at, used.used_at),
       secret_hash = CASE WHEN used.secret_hash <> '' AND c.revoked_at IS NULL THEN used.secret_hash ELSE c.secret_hash END
  FROM used
 WHERE c.tenant_id = $1::uuid AND c.id = used.id
