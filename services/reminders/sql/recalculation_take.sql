-- params: tenant_id now_us revision
-- The company's next job that no other replica has in hand. A customer who went on meanwhile goes at
-- once to whom he belongs to now; during a rebuild nobody knows who that is.
SELECT r.id, r.policy_key, r.effective_us, r.customer_id, r.from_id, coalesce(c.owner_id, r.to_id) AS to_id,
       r.after_id, r.overdue, r.reason
  FROM reminders.recalculation r
  LEFT JOIN reminders.customer_ref c ON c.tenant_id = $1::uuid AND c.id = r.customer_id
 WHERE r.tenant_id = $1::uuid AND r.done_at IS NULL AND r.effective_us <= $2::bigint
   AND r.start_at <= clock_timestamp() AND r.revision <= $3::bigint
   AND (r.customer_id IS NULL
        OR (c.id IS NOT NULL AND NOT EXISTS (SELECT FROM reminders.consumer_cursor
                                              WHERE consumer = 'reminders' AND replay_until > 0)))
 ORDER BY r.effective_us, r.id
 LIMIT 1
   FOR UPDATE OF r SKIP LOCKED
