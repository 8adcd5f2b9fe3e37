-- params: instance shards ttl_ms
-- What somebody still holds (a frozen owner in the middle of a firing) is left for the next time.
UPDATE ${schema}.shard_lease l
   SET owner = $1::text, version = version + 1,
       expires_at = clock_timestamp() + $3::bigint * interval '1 millisecond'
  FROM (SELECT shard
          FROM ${schema}.shard_lease
         WHERE shard = ANY ($2::smallint[]) AND (owner IS NULL OR expires_at <= clock_timestamp())
           FOR UPDATE SKIP LOCKED) AS free
 WHERE l.shard = free.shard
RETURNING l.shard, l.version
