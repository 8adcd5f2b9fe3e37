-- params: tenant_id transfer_id
-- No row: it was taken for dead.
UPDATE gateway.transfer_work
   SET kind = 'import', claimed_until = '-infinity', waits_since = clock_timestamp()
 WHERE tenant_id = $1::uuid AND transfer_id = $2::uuid AND kind = 'upload'
RETURNING 1
