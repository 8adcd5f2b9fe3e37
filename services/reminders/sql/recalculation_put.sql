-- params: tenant_id id policy_key policy_value unit_id reason effective_us asked_at delay_us
-- The directory's revision is that of the change or a later one: it is done by no older snapshot.
INSERT INTO reminders.recalculation
       (tenant_id, id, policy_key, policy_value, unit_id, reason, effective_us, asked_at, start_at,
        revision)
VALUES ($1::uuid, $2::uuid, $3::text, $4::text, $5::uuid, $6::text, $7::bigint, $8::timestamptz,
        clock_timestamp() + $9::bigint * interval '1 microsecond',
        (SELECT revision FROM directory_api.revision))
ON CONFLICT (tenant_id, id) DO NOTHING
