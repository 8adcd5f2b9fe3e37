-- params: tenant_id transfer_id version
UPDATE gateway.transfer_work
   SET claimed_until = '-infinity', attempts = greatest(attempts - 1, 0)
 WHERE tenant_id = $1::uuid AND transfer_id = $2::uuid AND version = $3::bigint
