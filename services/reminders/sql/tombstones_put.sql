-- params: tenant_id ids cancelled closed
INSERT INTO reminders.tombstone (tenant_id, obligation_id, cancelled, closed_at)
SELECT $1::uuid, x.id, x.cancelled, x.closed_at
  FROM unnest($2::uuid[], $3::boolean[], $4::timestamptz[]) AS x (id, cancelled, closed_at)
 WHERE NOT EXISTS (SELECT FROM reminders.obligation o WHERE o.tenant_id = $1::uuid AND o.id = x.id)
ON CONFLICT (tenant_id, obligation_id) DO NOTHING
