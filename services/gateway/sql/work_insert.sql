-- params: tenant_id transfer_id kind max
-- An upload is its replica's while it brings something every two minutes; the rest waits to be claimed. No
-- row: so many of the company's wait or are under way.
INSERT INTO gateway.transfer_work (tenant_id, transfer_id, kind, claimed_until)
SELECT $1::uuid, $2::uuid, $3::text,
       CASE WHEN $3::text = 'upload' THEN clock_timestamp() + interval '2 minutes' ELSE '-infinity' END
 WHERE (SELECT count(*) FROM gateway.transfer_work w WHERE w.tenant_id = $1::uuid AND w.kind <> 'dead') < $4::int
RETURNING 1
