-- params: tenant_id id url types description state
-- A state that changes begins anew: nothing of what it did before is held against it.
UPDATE gateway.endpoint
   SET url = $3::text, types = coalesce($4::text[], '{}'), description = coalesce($5::text, ''),
       failing_since = CASE WHEN state = $6::text THEN failing_since END,
       disabled_reason = CASE WHEN state = $6::text THEN disabled_reason ELSE '' END,
       state = $6::text, row_version = row_version + 1
 WHERE tenant_id = $1::uuid AND id = $2::uuid
