-- params: consumer seq attempts
UPDATE ${schema}.parked_event
   SET state = 'done', attempts = $3::int
 WHERE consumer = $1::text AND seq = $2::bigint
