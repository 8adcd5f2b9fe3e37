-- params: tenant_id transfer_id version
-- No row: the work is another's by now.
UPDATE gateway.transfer_work
   SET claimed_until = clock_timestamp() + interval '15 seconds'
 WHERE tenant_id = $1::uuid AND transfer_id = $2::uuid AND version = $3::bigint
RETURNING EXISTS (SELECT FROM gateway.import i WHERE i.tenant_id = $1::uuid AND i.id = $2::uuid AND i.cancel_requested)
       OR EXISTS (SELECT FROM gateway.export e WHERE e.tenant_id = $1::uuid AND e.id = $2::uuid AND e.cancel_requested)
       AS cancel_requested
