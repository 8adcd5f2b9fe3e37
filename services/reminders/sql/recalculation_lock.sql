-- params: tenant_id id
-- A customer who went on meanwhile goes at once to whom he belongs to now.
SELECT r.after_id, r.overdue, r.reason, coalesce(c.owner_id, r.to_id) AS to_id
  FROM reminders.recalculation r
  LEFT JOIN reminders.customer_ref c ON c.tenant_id = $1::uuid AND c.id = r.customer_id
 WHERE r.tenant_id = $1::uuid AND r.id = $2::uuid AND r.done_at IS NULL
   FOR UPDATE OF r
