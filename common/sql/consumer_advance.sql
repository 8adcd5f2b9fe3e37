-- params: consumer seq log_id event_id updated_at
UPDATE ${schema}.consumer_cursor
   SET seq = $2::bigint, log_id = $3::uuid, event_id = $4::uuid, updated_at = $5::timestamptz,
       replay_until = CASE WHEN replay_until > $2::bigint THEN replay_until ELSE 0 END,
       starts = 0, trying_seq = 0, tries = 0
 WHERE consumer = $1::text
