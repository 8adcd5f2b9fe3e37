-- params: tenant_id id collection format filter.owner_id filter.tier fields reason state principal created_by created_at expires_at remote_address
INSERT INTO gateway.export (tenant_id, id, collection, format, owner_id, tier, fields, reason, state, principal,
                            created_by, created_at, expires_at, remote_address)
VALUES ($1::uuid, $2::uuid, $3::text, $4::text, $5::uuid, coalesce($6::int, 0), coalesce($7::text[], '{}'),
        $8::text, $9::text, $10::bytea, $11::uuid, $12::timestamptz, $13::timestamptz, $14::text)
RETURNING id, collection, format, owner_id AS "filter.owner_id", nullif(tier, 0) AS "filter.tier", fields, reason, state,
       approved_by, approved_at, cancel_requested, rows, file_bytes, created_by, created_at, finished_at, expires_at,
       error_code AS "error.code", error_message AS "error.message", row_version::text AS etag
