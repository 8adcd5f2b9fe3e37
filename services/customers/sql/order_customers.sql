-- params: tenant_id sources ids
-- A customer named by its own id comes with the empty source.
SELECT c.id, c.ref_source, c.ref_id, c.owner_id, 'customer' AS kind
  FROM unnest($2::text[], $3::text[]) AS r (source, id)
  JOIN customers.customer c ON c.tenant_id = $1::uuid AND c.ref_source = r.source AND c.ref_id = r.id
 UNION ALL
SELECT c.id, '', c.id::text, c.owner_id, 'customer'
  FROM unnest($2::text[], $3::text[]) AS r (source, id)
  JOIN customers.customer c ON c.tenant_id = $1::uuid
       AND c.id = CASE WHEN r.source = '' THEN r.id::uuid END;
