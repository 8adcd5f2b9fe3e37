-- params: tenant_id visible visitor_id from to after_start after_id limit
-- What tells who and where a customer is goes only to those who see him.
SELECT v.id AS visit_id, v.state, v.starts_at, v.ends_at, v.mode, v.customer_id, v.place, v.goal,
       c.name AS customer_name,
       CASE WHEN c.address = v.place THEN c.latitude END AS "location.latitude",
       CASE WHEN c.address = v.place THEN c.longitude END AS "location.longitude",
       p.position AS contact_position, p.phone AS contact_phone,
       coalesce(v.sequence, v.row_version) AS sequence, v.changed_at
  FROM visits.visit v
  LEFT JOIN visits.customer c ON c.tenant_id = v.tenant_id AND c.id = v.customer_id
       AND ($2::uuid[] IS NULL OR c.owner_id = ANY ($2::uuid[]))
  LEFT JOIN visits.contact p ON p.tenant_id = v.tenant_id AND p.id = v.contact_id
       AND p.customer_id = c.id
 WHERE v.tenant_id = $1::uuid AND v.visitor_id = $3::uuid
   AND v.starts_at >= $4::timestamptz AND v.starts_at < $5::timestamptz
   AND ($6::timestamptz IS NULL OR (v.starts_at, v.id) > ($6::timestamptz, $7::uuid))
 ORDER BY v.starts_at, v.id
 LIMIT $8::int;
