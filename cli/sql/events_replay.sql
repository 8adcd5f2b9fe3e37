-- params: consumer seq
UPDATE ${schema}.parked_event
   SET state = 'replay'
 WHERE consumer = $1::text AND state = 'parked' AND ($2::bigint IS NULL OR seq = $2::bigint)
RETURNING seq, type, aggregate, attempts, reason
