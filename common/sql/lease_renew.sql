-- params: instance ttl_ms
-- Never waits: a row that somebody holds keeps the time it has.
UPDATE ${schema}.shard_lease l
   SET expires_at = clock_timestamp() + $2::bigint * interval '1 millisecond'
  FROM (SELECT shard
          FROM ${schema}.shard_lease
         WHERE owner = $1::text AND expires_at > clock_timestamp()
           FOR NO KEY UPDATE SKIP LOCKED) AS mine
 WHERE l.shard = mine.shard
