-- params: tenant_id ids now_us revision within_us
-- Which are there already. Those that are not are about to be counted by the rules of now and of this
-- revision of the directory. A recalculation for later ones may have passed already, and would never see
-- them: it begins again. One that has not begun is held up by the lock; what comes into force after
-- within_us this transaction does not live to see (REM-09).
WITH again AS (
    UPDATE reminders.recalculation
       SET after_id = '00000000-0000-0000-0000-000000000000', overdue = false, done_at = NULL
     WHERE tenant_id = $1::uuid AND customer_id IS NULL
       AND ((effective_us > $3::bigint AND effective_us <= $3::bigint + $5::bigint)
            OR revision > $4::bigint)
)
SELECT id
  FROM reminders.obligation
 WHERE tenant_id = $1::uuid AND id = ANY ($2::uuid[])
