-- params: tenant_id transfer_id
DELETE FROM gateway.transfer_work
 WHERE tenant_id = $1::uuid AND transfer_id = $2::uuid AND kind = 'dead'
