-- params: instance ttl_ms
WITH swept AS (
    DELETE FROM ${schema}.member m
     USING (SELECT instance
              FROM ${schema}.member
             WHERE expires_at < clock_timestamp() - interval '1 minute'
               FOR UPDATE SKIP LOCKED) AS dead
     WHERE m.instance = dead.instance
)
INSERT INTO ${schema}.member (instance, expires_at)
VALUES ($1::text, clock_timestamp() + $2::bigint * interval '1 millisecond')
ON CONFLICT (instance) DO UPDATE SET expires_at = excluded.expires_at
