-- params: consumer seq
UPDATE ${schema}.consumer_cursor
   SET tries = CASE WHEN trying_seq = $2::bigint THEN tries + 1 ELSE 1 END,
       trying_seq = $2::bigint
 WHERE consumer = $1::text
RETURNING tries
