-- params: tenant_id actor_id aggregate type method outcome from to before_number limit
-- A type or method that ends in "." or "/" is a prefix.
SELECT number, seq, event_id, occurred_at, actor_id, request_id, method, remote_address, type,
       aggregate, aggregate_version, outcome, reason, rows, string_to_array(fields, ',') AS fields,
       unwritten, hash
  FROM directory.audit_entry
 WHERE tenant_id = $1::uuid
   AND ($2::uuid IS NULL OR actor_id = $2::uuid)
   AND ($3::text IS NULL OR aggregate = $3::text)
   AND ($4::text IS NULL OR type = $4::text
        OR (right($4::text, 1) = '.' AND starts_with(type, $4::text)))
   AND ($5::text IS NULL OR method = $5::text
        OR (right($5::text, 1) IN ('.', '/') AND starts_with(method, $5::text)))
   AND ($6::text IS NULL OR outcome = $6::text)
   AND ($7::timestamptz IS NULL OR occurred_at >= $7::timestamptz)
   AND ($8::timestamptz IS NULL OR occurred_at < $8::timestamptz)
   AND ($9::bigint IS NULL OR number < $9::bigint)
 ORDER BY number DESC
 LIMIT $10::int
