-- params: tenant_id
SELECT consumer, seq, type, aggregate, tenant_id, attempts, state, reason, parked_at
  FROM ${schema}.parked_event
 WHERE state <> 'done' AND ($1::uuid IS NULL OR tenant_id = $1::uuid)
 ORDER BY consumer, seq
