-- params: tenant_id id customer_id to_id reason effective_us asked_at
-- Before customer_put: what the read model still holds is the owner of before. None where he owes the
-- customer nothing, and no other hand-over, which may be under way, can give him anything.
INSERT INTO reminders.recalculation
       (tenant_id, id, policy_key, customer_id, from_id, to_id, reason, effective_us, asked_at, start_at)
SELECT $1::uuid, $2::uuid, '', c.id, c.owner_id, $4::uuid, $5::text, $6::bigint, $7::timestamptz,
       clock_timestamp()
  FROM reminders.customer_ref c
 WHERE c.tenant_id = $1::uuid AND c.id = $3::uuid AND c.owner_id <> $4::uuid
   AND (EXISTS (SELECT FROM reminders.obligation o
                 WHERE o.tenant_id = $1::uuid AND o.assignee_id = c.owner_id AND o.closed_at IS NULL
                   AND o.customer_id = c.id)
        OR EXISTS (SELECT FROM reminders.recalculation r
                    WHERE r.tenant_id = $1::uuid AND r.customer_id = $3::uuid AND r.done_at IS NULL))
ON CONFLICT (tenant_id, id) DO NOTHING
