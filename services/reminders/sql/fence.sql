-- params: shards versions owner
SELECT count(*) AS held
  FROM (SELECT
          FROM unnest($1::smallint[], $2::bigint[]) AS x (shard, version)
          JOIN reminders.shard_lease l ON l.shard = x.shard AND l.version = x.version
         WHERE l.owner = $3::text AND l.expires_at > clock_timestamp()
           FOR KEY SHARE OF l) AS held
