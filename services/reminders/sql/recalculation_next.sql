-- params: now_us
SELECT tenant_id, id, policy_key, effective_us, customer_id, from_id
  FROM reminders.recalculation
 WHERE done_at IS NULL AND effective_us <= $1::bigint AND start_at <= clock_timestamp()
 ORDER BY effective_us, id
 LIMIT 1
