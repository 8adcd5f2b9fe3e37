-- params: tenant_id rows name_keys city_codes credit_codes phone_indexes except_ids
SELECT DISTINCT ON (q.row) q.row, d.id, d.reason
  FROM unnest($2::int[], $3::text[], $4::text[], $5::text[], $6::text[], $7::uuid[])
       AS q (row, name_key, city_code, credit_code, phone_index, except_id)
 CROSS JOIN LATERAL (
       SELECT c.id, 'credit_code' AS reason, 1 AS rank FROM customers.customer c
        WHERE c.tenant_id = $1::uuid AND q.credit_code <> '' AND c.credit_code = q.credit_code
       UNION ALL
       SELECT c.id, 'name_and_region', 2 FROM customers.customer c
        WHERE c.tenant_id = $1::uuid AND q.name_key <> '' AND c.name_key = q.name_key
          AND c.city_code = q.city_code
       UNION ALL
       SELECT k.customer_id, 'contact_phone', 3 FROM customers.contact k
        WHERE k.tenant_id = $1::uuid AND q.phone_index <> '' AND k.phone_index = q.phone_index) d
 WHERE d.id IS DISTINCT FROM q.except_id
 ORDER BY q.row, d.rank, d.id;
