-- params: consumer seq log_id replay_until
SELECT 1 / count(*) AS held
  FROM (SELECT seq, log_id, replay_until
          FROM ${schema}.consumer_cursor
         WHERE consumer = $1::text
           FOR UPDATE) AS c
 WHERE c.seq = $2::bigint
   AND c.log_id IS NOT DISTINCT FROM $3::uuid
   AND c.replay_until = $4::bigint
