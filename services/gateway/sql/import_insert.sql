-- params: tenant_id id collection format source dry_run update_owner file_bytes file_sha256 principal credential_id idempotency_key created_by created_at expires_at remote_address
-- No row: the key was used before.
INSERT INTO gateway.import (tenant_id, id, collection, format, source, dry_run, update_owner, state, file_bytes,
                            file_sha256, principal, credential_id, idempotency_key, created_by, created_at, expires_at,
                            remote_address)
VALUES ($1::uuid, $2::uuid, $3::text, $4::text, $5::text, coalesce($6::boolean, false),
        coalesce($7::boolean, false), 'pending', coalesce($8::bigint, 0), $9::text, $10::bytea, $11::uuid, $12::text,
        $13::uuid, $14::timestamptz, $15::timestamptz, $16::text)
ON CONFLICT (tenant_id, created_by, idempotency_key) WHERE idempotency_key <> '' DO NOTHING
RETURNING id, collection, format, source, dry_run, update_owner, state, cancel_requested, rows, inserted, updated,
       unchanged, duplicates, invalid, file_bytes, result_bytes, created_by, created_at, finished_at, expires_at,
       error_code AS "error.code", error_message AS "error.message", row_version::text AS etag
