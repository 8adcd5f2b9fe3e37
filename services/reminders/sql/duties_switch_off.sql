-- params: tenant_id ids notes closed
WITH closed AS (
    UPDATE reminders.obligation o
       SET state = 'cancelled', closed_at = x.closed_at, next_step = NULL, next_us = NULL,
           explanation = concat_ws(E'\n', nullif(o.explanation, ''), x.note),
           row_version = o.row_version + 1
      FROM unnest($2::uuid[], $3::text[], $4::timestamptz[]) AS x (id, note, closed_at)
     WHERE o.tenant_id = $1::uuid AND o.id = x.id AND o.closed_at IS NULL
    RETURNING o.id
), unparked AS (
    DELETE FROM reminders.timer_parked p USING closed c
     WHERE p.tenant_id = $1::uuid AND p.obligation_id = c.id
)
DELETE FROM reminders.timer t USING closed c
 WHERE t.tenant_id = $1::uuid AND t.obligation_id = c.id
