-- params: consumer tenant_id aggregate seq attempts reason
-- Nothing when another replica has made `seq` good, or an operator seen to it, since it was tried.
UPDATE ${schema}.parked_event
   SET state = 'parked',
       attempts = CASE WHEN seq = $4::bigint THEN $5::int ELSE attempts END,
       reason = CASE WHEN seq = $4::bigint THEN $6::text ELSE reason END
 WHERE consumer = $1::text AND tenant_id = $2::uuid AND aggregate = $3::text
   AND state = 'replay'
   AND EXISTS (SELECT FROM ${schema}.parked_event f
                WHERE f.consumer = $1::text AND f.seq = $4::bigint AND f.state = 'replay')
RETURNING seq
