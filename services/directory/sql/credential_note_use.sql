-- params: tenant_id ids used_at
-- Always in the order of the ids, so that two gateways do not wait for each other crosswise.
WITH used AS (
    SELECT c.id, u.used_at
      FROM directory.credential c
      JOIN unnest($2::uuid[], $3::timestamptz[]) AS u (id, used_at) ON u.id = c.id
     WHERE c.tenant_id = $1::uuid AND (c.last_used_at IS NULL OR c.last_used_at < u.used_at)
     ORDER BY c.id
       FOR UPDATE OF c
)
UPDATE directory.credential c
   SET last_used_at = greatest(c.last_used_at, used.used_at)
  FROM used
 WHERE c.tenant_id = $1::uuid AND c.id = used.id
