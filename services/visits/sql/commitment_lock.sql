-- params: tenant_id id
SELECT m.id, m.customer_id, m.visit_id, m.text, m.owner_id, m.promised_at, m.due_at, m.undated, m.state,
       m.fulfilled_at, m.result, m.broken, m.source, m.unit_id AS _unit_id,
       m.row_version AS _row_version, c.owner_id AS _customer_owner_id
  FROM visits.commitment m
  LEFT JOIN visits.customer c ON c.tenant_id = m.tenant_id AND c.id = m.customer_id
 WHERE m.tenant_id = $1::uuid AND m.id = $2::uuid
   FOR UPDATE OF m;
