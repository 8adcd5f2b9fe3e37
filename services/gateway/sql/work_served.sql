-- params: tenant_id
-- The company was given a turn: what else of it waits does so from now on. In one order, so that two
-- replicas do not wait for each other.
WITH others AS (
    SELECT transfer_id
      FROM gateway.transfer_work
     WHERE tenant_id = $1::uuid AND kind IN ('import', 'export')
     ORDER BY transfer_id
       FOR UPDATE
)
UPDATE gateway.transfer_work w
   SET waits_since = clock_timestamp()
  FROM others
 WHERE w.tenant_id = $1::uuid AND w.transfer_id = others.transfer_id
