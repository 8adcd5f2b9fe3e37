-- params: tenant_id transfer_id
UPDATE gateway.transfer_work
   SET version = version + 1, attempts = attempts + 1, claimed_until = clock_timestamp() + interval '15 seconds'
 WHERE tenant_id = $1::uuid AND transfer_id = $2::uuid AND kind <> 'dead' AND claimed_until < clock_timestamp()
RETURNING version, attempts
