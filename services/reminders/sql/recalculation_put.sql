-- params: tenant_id id policy_key policy_value unit_id reason effective_us asked_at
INSERT INTO reminders.recalculation
       (tenant_id, id, policy_key, policy_value, unit_id, reason, effective_us, asked_at)
VALUES ($1::uuid, $2::uuid, $3::text, $4::text, $5::uuid, $6::text, $7::bigint, $8::timestamptz)
ON CONFLICT (tenant_id, id) DO NOTHING
