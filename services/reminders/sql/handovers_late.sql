-- params: tenant_id reason asked_at ids customers assignees knowns
-- New duties of who was the owner of the customer when they became known and is not any more: their
-- events were heard after that of the hand-over. Known by the first duty of each.
INSERT INTO reminders.recalculation
       (tenant_id, id, policy_key, customer_id, from_id, to_id, reason, effective_us, asked_at, start_at)
SELECT DISTINCT ON (f.customer_id, f.owner_id)
       $1::uuid, x.id, '', f.customer_id, f.owner_id, c.owner_id, $2::text, f.until_us,
       $3::timestamptz, clock_timestamp()
  FROM unnest($4::uuid[], $5::uuid[], $6::uuid[], $7::bigint[]) AS x (id, customer_id, assignee_id, known_us)
  JOIN reminders.former_owner f
    ON f.tenant_id = $1::uuid AND f.customer_id = x.customer_id AND f.owner_id = x.assignee_id
       AND f.until_us >= x.known_us
  JOIN reminders.customer_ref c
    ON c.tenant_id = $1::uuid AND c.id = f.customer_id AND c.owner_id <> f.owner_id
 ORDER BY f.customer_id, f.owner_id, x.id
ON CONFLICT (tenant_id, id) DO NOTHING
