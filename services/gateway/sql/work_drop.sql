-- params: tenant_id transfer_id
-- An upload that came to nothing; its pieces are deleted later. Who still writes one finds no upload.
UPDATE gateway.transfer_work
   SET kind = 'dead', version = version + 1, claimed_until = '-infinity'
 WHERE tenant_id = $1::uuid AND transfer_id = $2::uuid AND kind = 'upload'
