-- params: tenant_id visible owner_id tier after_name after_id limit
SELECT c.id, c.ref_source AS "external_ref.source", c.ref_id AS "external_ref.id", c.name, c.relation_type,
       t.tier, c.key_account, c.owner_id, c.source, c.industry, c.company_size, c.address,
       c.latitude AS "location.latitude", c.longitude AS "location.longitude", c.city_code,
       c.credit_code, c.status, c.potential_rating, c.last_contact_at, c.open_questions,
       c.created_at, c.row_version::text AS etag
  FROM customers.customer c
  LEFT JOIN customers.customer_tier t ON t.tenant_id = c.tenant_id AND t.customer_id = c.id
 WHERE c.tenant_id = $1::uuid
   AND ($2::uuid[] IS NULL OR c.owner_id = ANY ($2::uuid[]))
   AND ($3::uuid IS NULL OR c.owner_id = $3::uuid)
   AND ($4::text IS NULL OR t.tier = $4::text)
   AND ($5::text IS NULL OR (c.name, c.id) > ($5::text, $6::uuid))
 ORDER BY c.name, c.id
 LIMIT $7::int;
