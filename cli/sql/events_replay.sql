-- params: consumer seq tenant_id
WITH marked AS (
    UPDATE ${schema}.parked_event
       SET state = 'replay'
     WHERE consumer = $1::text AND state = 'parked' AND ($2::bigint IS NULL OR seq = $2::bigint)
       AND ($3::uuid IS NULL OR tenant_id = $3::uuid)
    RETURNING consumer, seq, type, aggregate, tenant_id, attempts, state, reason, parked_at
)
SELECT consumer, seq, type, aggregate, tenant_id, attempts, state, reason, parked_at
  FROM marked
 ORDER BY seq
