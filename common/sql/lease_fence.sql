-- params: shards versions owner wall_us
SELECT count(*) AS held,
       coalesce((extract(epoch FROM clock_timestamp()) * 1000000)::bigint - $4::bigint, 0) AS ahead_us
  FROM (SELECT
          FROM unnest($1::smallint[], $2::bigint[]) AS x (shard, version)
          JOIN ${schema}.shard_lease l ON l.shard = x.shard AND l.version = x.version
         WHERE l.owner = $3::text AND l.expires_at > clock_timestamp()
           FOR KEY SHARE OF l) AS held
