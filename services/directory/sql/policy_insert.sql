-- params: tenant_id key version unit_id value effective_from set_by set_at reason
INSERT INTO directory.policy_setting (tenant_id, key, version, unit_id, value, effective_from,
       set_by, set_at, reason)
VALUES ($1::uuid, $2::text, $3::bigint, $4::uuid, $5::text, $6::timestamptz, $7::uuid,
       $8::timestamptz, $9::text)
