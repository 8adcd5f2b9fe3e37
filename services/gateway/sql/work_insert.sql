-- params: tenant_id transfer_id kind
-- An upload is its replica's while it brings something every two minutes; the rest waits to be claimed.
INSERT INTO gateway.transfer_work (tenant_id, transfer_id, kind, claimed_until)
VALUES ($1::uuid, $2::uuid, $3::text,
        CASE WHEN $3::text = 'upload' THEN clock_timestamp() + interval '2 minutes' ELSE '-infinity' END)
