-- params: tenant_id id customer_id interaction_id text asked_at assignee_id unit_id
INSERT INTO customers.question (tenant_id, id, customer_id, interaction_id, text, asked_at,
       assignee_id, unit_id, state, row_version)
VALUES ($1::uuid, $2::uuid, $3::uuid, $4::uuid, $5::text, $6::timestamptz, $7::uuid, $8::uuid,
       'open', 1);
