-- params: consumer seq attempts reason next_try_at
UPDATE ${schema}.parked_event
   SET attempts = $3::int, reason = $4::text, next_try_at = $5::timestamptz
 WHERE consumer = $1::text AND seq = $2::bigint AND state = 'replay'
