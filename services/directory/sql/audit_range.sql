-- params: tenant_id from_number to_number limit
SELECT number, seq, event_id, occurred_at, actor_id, request_id, method, remote_address, type,
       aggregate, aggregate_version, outcome, reason, rows, string_to_array(fields, ',') AS fields,
       unwritten, hash
  FROM directory.audit_entry
 WHERE tenant_id = $1::uuid AND number >= $2::bigint AND number <= $3::bigint
 ORDER BY number
 LIMIT $4::int
