-- params: tenant_id sources ids
SELECT c.id, c.ref_source AS "external_ref.source", c.ref_id AS "external_ref.id", c.name, c.relation_type,
       t.tier, c.key_account, c.owner_id, c.source, c.industry, c.company_size, c.address,
       c.latitude AS "location.latitude", c.longitude AS "location.longitude", c.city_code,
       c.credit_code, c.status, c.potential_rating, c.last_contact_at, c.open_questions,
       c.created_at, c.row_version::text AS etag
  FROM customers.customer c
  LEFT JOIN customers.customer_tier t ON t.tenant_id = c.tenant_id AND t.customer_id = c.id
  JOIN unnest($2::text[], $3::text[]) AS r (source, id) ON c.ref_source = r.source AND c.ref_id = r.id
 WHERE c.tenant_id = $1::uuid
 ORDER BY c.id -- one order of locks for all imports
   FOR NO KEY UPDATE OF c;
