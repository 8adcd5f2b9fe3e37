-- params: now_us not_id
SELECT tenant_id, id, policy_key, effective_us, customer_id, from_id
  FROM reminders.recalculation
 WHERE done_at IS NULL AND effective_us <= $1::bigint AND start_at <= clock_timestamp()
   AND id IS DISTINCT FROM $2::uuid
 ORDER BY effective_us, id
 LIMIT 1
