-- params: instance
SELECT shard, version, coalesce(owner = $1::text, false) AS mine, expires_at > clock_timestamp() AS live
  FROM ${schema}.shard_lease
 ORDER BY shard
