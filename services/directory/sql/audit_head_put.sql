-- params: tenant_id number hash
INSERT INTO directory.audit_head (tenant_id, number, hash)
VALUES ($1::uuid, $2::bigint, $3::bytea)
    ON CONFLICT (tenant_id) DO UPDATE SET number = excluded.number, hash = excluded.hash
