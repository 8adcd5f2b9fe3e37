-- params: consumer tenant_id seq after_seq limit
-- tenant_id NULL: of all companies; seq NULL: all behind after_seq; limit NULL: to the end. Locked in
-- their order, as the consumer takes them.
WITH chosen AS (
    SELECT seq
      FROM ${schema}.parked_event
     WHERE consumer = $1::text AND state = 'parked' AND ($2::uuid IS NULL OR tenant_id = $2::uuid)
       AND ($3::bigint IS NULL OR seq = $3::bigint) AND seq > $4::bigint
     ORDER BY seq
     LIMIT $5::int
       FOR UPDATE
), marked AS (
    UPDATE ${schema}.parked_event p
       SET state = 'replay'
      FROM chosen
     WHERE p.consumer = $1::text AND p.seq = chosen.seq
    RETURNING p.consumer, p.seq, p.type, p.aggregate, p.tenant_id, p.attempts, p.state, p.reason,
              p.parked_at
)
SELECT consumer, seq, type, aggregate, tenant_id AS _tenant_id, attempts, state, reason, parked_at
  FROM marked
 ORDER BY seq
