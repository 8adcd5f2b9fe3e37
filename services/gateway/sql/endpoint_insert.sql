-- params: tenant_id id url types description secret created_at
INSERT INTO gateway.endpoint (tenant_id, id, url, types, description, secret, state, created_at, row_version,
                              since_seq)
VALUES ($1::uuid, $2::uuid, $3::text, coalesce($4::text[], '{}'), coalesce($5::text, ''), $6::text,
        'active', $7::timestamptz, 1, (SELECT last_seq FROM bus.head))
