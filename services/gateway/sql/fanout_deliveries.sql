-- params: tenant_id endpoint_ids event_ids seqs lanes keys
-- An endpoint that was removed in the meantime gets none.
WITH made AS (
    INSERT INTO gateway.delivery (tenant_id, endpoint_id, event_id, seq, lane, key, state)
    SELECT $1::uuid, d.endpoint_id, d.event_id, d.seq, d.lane, d.key, 'pending'
      FROM unnest($2::uuid[], $3::uuid[], $4::bigint[], $5::bigint[], $6::bigint[])
        AS d (endpoint_id, event_id, seq, lane, key)
     WHERE EXISTS (SELECT FROM gateway.endpoint e
                    WHERE e.tenant_id = $1::uuid AND e.id = d.endpoint_id FOR KEY SHARE)
    ON CONFLICT DO NOTHING
    RETURNING endpoint_id, event_id, seq, lane, key
)
INSERT INTO gateway.outgoing (tenant_id, endpoint_id, lane, seq, event_id, key)
SELECT $1::uuid, endpoint_id, lane, seq, event_id, key FROM made
