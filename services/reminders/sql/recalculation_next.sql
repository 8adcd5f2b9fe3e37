-- params: now_us after_id revision
-- The next company with a job.
SELECT tenant_id
  FROM reminders.recalculation
 WHERE done_at IS NULL AND effective_us <= $1::bigint AND start_at <= clock_timestamp()
   AND tenant_id > $2::uuid AND revision <= $3::bigint
   AND (customer_id IS NULL OR NOT EXISTS (SELECT FROM reminders.consumer_cursor
                                            WHERE consumer = 'reminders' AND replay_until > 0))
 ORDER BY tenant_id
 LIMIT 1
