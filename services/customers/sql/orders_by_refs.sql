-- params: tenant_id sources ids
-- An order named by its own id comes with the empty source.
SELECT o.id, o.ref_source, o.ref_id, o.customer_id, o.kind
  FROM unnest($2::text[], $3::text[]) AS r (source, id)
  JOIN customers.sales_order o ON o.tenant_id = $1::uuid AND o.ref_source = r.source AND o.ref_id = r.id
 UNION
SELECT o.id, '', o.id::text, o.customer_id, o.kind
  FROM unnest($2::text[], $3::text[]) AS r (source, id)
  JOIN customers.sales_order o ON o.tenant_id = $1::uuid
       AND o.id = CASE WHEN r.source = '' THEN r.id::uuid END;
