-- params: instance shards ttl_ms
UPDATE reminders.shard_lease l
   SET expires_at = clock_timestamp() + $3::bigint * interval '1 millisecond'
 WHERE shard = ANY ($2::smallint[]) AND owner = $1::text AND expires_at > clock_timestamp()
RETURNING shard, version
