-- params: tenant_id ids limit
-- ids NULL: those of the first `limit` duties; limit NULL: of all. The duty says what it waits for
-- (next_step, next_us: a copy of its timer). That is armed, not what was parked: a duty that was closed
-- waits for nothing. The duty is locked first, as by all who change it.
WITH chosen AS (
    SELECT obligation_id
      FROM reminders.timer_parked
     WHERE tenant_id = $1::uuid AND ($2::uuid[] IS NULL OR obligation_id = ANY ($2::uuid[]))
     GROUP BY obligation_id
     ORDER BY min(parked_at), obligation_id
     LIMIT $3::int
), duty AS (
    SELECT o.id, o.rule, o.subject, o.next_step, o.next_us
      FROM reminders.obligation o
     WHERE o.tenant_id = $1::uuid AND o.id IN (SELECT obligation_id FROM chosen)
     ORDER BY o.id
       FOR UPDATE
), armed AS (
    INSERT INTO reminders.timer (tenant_id, obligation_id, shard, step, due_us)
    SELECT $1::uuid, id, get_byte(uuid_send(id), 15) & 63, next_step, next_us
      FROM duty
     WHERE next_us IS NOT NULL
    ON CONFLICT (tenant_id, obligation_id) DO NOTHING
    RETURNING obligation_id, step, due_us
), gone AS (
    DELETE FROM reminders.timer_parked p
     WHERE p.tenant_id = $1::uuid AND p.obligation_id IN (SELECT obligation_id FROM chosen)
    RETURNING p.tenant_id, p.obligation_id, p.step, p.due_us, p.reason, p.parked_at
)
SELECT g.tenant_id AS _tenant_id, g.obligation_id AS reminder_id, d.rule, d.subject,
       coalesce(a.step, g.step) AS step,
       to_timestamp(0) + coalesce(a.due_us, g.due_us) * interval '1 microsecond' AS due_at,
       g.reason, g.parked_at, a.obligation_id IS NOT NULL AS armed,
       (SELECT count(*) FROM chosen) AS _duties
  FROM gone g
  LEFT JOIN duty d ON d.id = g.obligation_id
  LEFT JOIN armed a ON a.obligation_id = g.obligation_id
 ORDER BY g.parked_at, g.obligation_id, g.step
