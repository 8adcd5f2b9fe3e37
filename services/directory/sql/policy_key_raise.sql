-- params: tenant_id key
INSERT INTO directory.policy_key (tenant_id, key, version) VALUES ($1::uuid, $2::text, 1)
    ON CONFLICT (tenant_id, key) DO UPDATE SET version = policy_key.version + 1
RETURNING version
