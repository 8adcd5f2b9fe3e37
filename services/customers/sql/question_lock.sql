-- params: tenant_id id
SELECT id, customer_id, interaction_id, text, asked_at, assignee_id, state,
       preliminary_answered_at, answered_at, answer, late, row_version AS _row_version
  FROM customers.question WHERE tenant_id = $1::uuid AND id = $2::uuid FOR UPDATE;
