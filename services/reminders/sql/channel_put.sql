-- params: tenant_id owner_id url secret updated_at updated_by
-- The secret before goes on signing for a day, so that its receiver has time to learn the new one.
INSERT INTO reminders.channel AS c (tenant_id, owner_id, url, secret, updated_at, updated_by)
VALUES ($1::uuid, $2::uuid, $3::text, $4::text, $5::timestamptz, $6::uuid)
ON CONFLICT (tenant_id, owner_id)
DO UPDATE SET url = excluded.url, secret = excluded.secret, old_secret = c.secret,
              old_until = clock_timestamp() + interval '24 hours',
              updated_at = excluded.updated_at, updated_by = excluded.updated_by
