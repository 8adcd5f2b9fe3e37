-- params: tenant_id id kind actor_id is_employee label scopes curve_public_key secret_hash created_at expires_at allowed_networks
INSERT INTO directory.credential (tenant_id, id, kind, actor_id, is_employee, label, scopes,
       curve_public_key, secret_hash, created_at, expires_at, allowed_networks, row_version)
VALUES ($1::uuid, $2::uuid, $3::text, $4::uuid, $5::boolean, $6::text, $7::text[],
       nullif($8::text, ''), $9::text, $10::timestamptz, $11::timestamptz, $12::text[], 1)
