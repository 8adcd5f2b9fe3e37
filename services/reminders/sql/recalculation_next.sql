-- params: now_us
SELECT tenant_id, id, policy_key, policy_value, unit_id, effective_us
  FROM reminders.recalculation
 WHERE done_at IS NULL AND effective_us <= $1::bigint
 ORDER BY effective_us
 LIMIT 1
