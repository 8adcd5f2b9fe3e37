-- params: instance shards
-- What a firing of our own still holds is given the next time.
UPDATE ${schema}.shard_lease l
   SET owner = NULL, version = version + 1, expires_at = '-infinity'
  FROM (SELECT shard
          FROM ${schema}.shard_lease
         WHERE shard = ANY ($2::smallint[]) AND owner = $1::text
           FOR UPDATE SKIP LOCKED) AS mine
 WHERE l.shard = mine.shard
RETURNING l.shard
