-- params: tenant_id owner_id url secret updated_at updated_by
INSERT INTO reminders.channel (tenant_id, owner_id, url, secret, updated_at, updated_by)
VALUES ($1::uuid, $2::uuid, $3::text, $4::text, $5::timestamptz, $6::uuid)
ON CONFLICT (tenant_id, owner_id)
DO UPDATE SET url = excluded.url, secret = excluded.secret, updated_at = excluded.updated_at,
              updated_by = excluded.updated_by
