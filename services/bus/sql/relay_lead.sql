-- params: log_id timeline
UPDATE bus.head
   SET term = term + 1, log_id = $1::uuid, timeline = $2::int
 WHERE one
RETURNING term
