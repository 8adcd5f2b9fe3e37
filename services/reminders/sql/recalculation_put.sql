-- params: tenant_id id policy_key policy_value unit_id reason effective_us asked_at delay_us
INSERT INTO reminders.recalculation
       (tenant_id, id, policy_key, policy_value, unit_id, reason, effective_us, asked_at, start_at)
VALUES ($1::uuid, $2::uuid, $3::text, $4::text, $5::uuid, $6::text, $7::bigint, $8::timestamptz,
        clock_timestamp() + $9::bigint * interval '1 microsecond')
ON CONFLICT (tenant_id, id) DO NOTHING
