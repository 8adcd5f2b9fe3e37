-- params: tenant_id id
SELECT q.id, q.customer_id, q.interaction_id, q.text, q.asked_at, q.assignee_id, q.state,
       q.preliminary_answered_at, q.preliminary_answer, q.final_promised_at, q.answered_at,
       q.answer, q.late, q.unit_id AS _unit_id, q.row_version AS _row_version,
       c.owner_id AS _owner_id
  FROM customers.question q
  JOIN customers.customer c ON c.tenant_id = q.tenant_id AND c.id = q.customer_id
 WHERE q.tenant_id = $1::uuid AND q.id = $2::uuid
   FOR UPDATE OF q;
