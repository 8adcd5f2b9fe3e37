-- params: instance shards
UPDATE reminders.shard_lease
   SET owner = NULL, version = version + 1, expires_at = '-infinity'
 WHERE shard = ANY ($2::smallint[]) AND owner = $1::text
