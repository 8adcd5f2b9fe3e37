-- params: tenant_id id source ref_id
SELECT i.id, i.customer_id, i.contact_id, i.employee_id, i.visit_id, i.channel, i.direction, i.ended_at, i.content,
       i.needs, i.result, i.next_step, i.next_contact_at, i.satisfaction, i.state, i.recorded_at,
       i.late, i.ref_source AS "external_ref.source", i.ref_id AS "external_ref.id",
       i.unit_id AS _unit_id, i.row_version AS _row_version, c.owner_id AS _owner_id
  FROM customers.interaction i
  JOIN customers.customer c ON c.tenant_id = i.tenant_id AND c.id = i.customer_id
 WHERE i.tenant_id = $1::uuid
   AND (i.id = $2::uuid OR ($2::uuid IS NULL AND i.ref_source = $3::text AND i.ref_id = $4::text))
   FOR UPDATE OF i;
