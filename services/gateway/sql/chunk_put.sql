-- params: tenant_id transfer_id kind at bytes
INSERT INTO gateway.transfer_chunk (tenant_id, transfer_id, kind, at, bytes)
VALUES ($1::uuid, $2::uuid, $3::text, $4::bigint, $5::bytea)
