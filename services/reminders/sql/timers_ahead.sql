-- params: shards after_us after_ids until_us limit
SELECT t.tenant_id, t.obligation_id, t.shard, t.step, t.due_us
  FROM unnest($1::smallint[], $2::bigint[], $3::uuid[]) AS s (shard, after_us, after_id),
       LATERAL (SELECT *
                  FROM reminders.timer t
                 WHERE t.shard = s.shard
                   AND (t.due_us, t.obligation_id) > (s.after_us, s.after_id)
                   AND t.due_us <= $4::bigint
                 ORDER BY t.due_us, t.obligation_id
                 LIMIT $5::int) AS t
