-- params: tenant_id
-- What is from after the restore is for them.
WITH mended AS (
    UPDATE gateway.endpoint e
       SET since_seq = h.last_seq
      FROM bus.head h
     WHERE e.tenant_id = $1::uuid AND e.since_seq > h.last_seq
    RETURNING e.id
)
SELECT count(*) AS n FROM mended
