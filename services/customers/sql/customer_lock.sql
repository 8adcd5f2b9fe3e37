-- params: tenant_id id
SELECT c.id, c.ref_source AS "external_ref.source", c.ref_id AS "external_ref.id", c.name, c.relation_type,
       t.tier, c.key_account, c.owner_id, c.source, c.industry, c.company_size, c.address,
       c.latitude AS "location.latitude", c.longitude AS "location.longitude", c.city_code,
       c.credit_code, c.status, c.potential_rating, c.last_contact_at, c.open_questions,
       c.created_at, c.row_version::text AS etag
  FROM customers.customer c
  LEFT JOIN customers.customer_tier t ON t.tenant_id = c.tenant_id AND t.customer_id = c.id
 WHERE c.tenant_id = $1::uuid AND c.id = $2::uuid
   FOR NO KEY UPDATE OF c;
