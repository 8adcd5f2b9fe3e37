-- params: tenant_id key effective_from value
INSERT INTO scoring.policy (tenant_id, key, effective_from, value)
VALUES ($1::uuid, $2::text, $3::timestamptz, $4::text)
    ON CONFLICT (tenant_id, key, effective_from) DO UPDATE SET value = excluded.value;
