-- params: tenant_id numbers seqs event_ids times actor_ids request_ids methods remote_addresses types aggregates versions outcomes reasons rows fields unwritten hashes
INSERT INTO directory.audit_entry
       (tenant_id, number, seq, event_id, occurred_at, actor_id, request_id, method, remote_address,
        type, aggregate, aggregate_version, outcome, reason, rows, fields, unwritten, hash)
SELECT $1::uuid, number, seq, event_id, occurred_at, actor_id, request_id, method, remote_address,
       type, aggregate, aggregate_version, outcome, reason, rows, fields, unwritten, hash
  FROM unnest($2::bigint[], $3::bigint[], $4::uuid[], $5::timestamptz[], $6::uuid[], $7::text[],
              $8::text[], $9::text[], $10::text[], $11::text[], $12::bigint[], $13::text[],
              $14::text[], $15::bigint[], $16::text[], $17::bigint[], $18::bytea[])
       AS e (number, seq, event_id, occurred_at, actor_id, request_id, method, remote_address, type,
             aggregate, aggregate_version, outcome, reason, rows, fields, unwritten, hash)
