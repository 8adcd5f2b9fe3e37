-- params: consumer tenant_id after_seq limit
-- tenant_id NULL: of all companies; limit NULL: to the end.
SELECT consumer, seq, type, aggregate, tenant_id AS _tenant_id, attempts, state, reason, parked_at
  FROM ${schema}.parked_event
 WHERE consumer = $1::text AND state <> 'done' AND ($2::uuid IS NULL OR tenant_id = $2::uuid)
   AND seq > $3::bigint
 ORDER BY seq
 LIMIT $4::int
