-- params: tenant_id id
SELECT id, customer_id, visit_id, text, owner_id, promised_at, due_at, undated, state, fulfilled_at,
       result, broken, source, row_version AS _row_version
  FROM visits.commitment WHERE tenant_id = $1::uuid AND id = $2::uuid FOR UPDATE;
