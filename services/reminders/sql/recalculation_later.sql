-- params: tenant_id id delay_us
-- What failed is tried again later, by whichever replica: meanwhile it holds up no other.
UPDATE reminders.recalculation
   SET start_at = clock_timestamp() + $3::bigint * interval '1 microsecond'
 WHERE tenant_id = $1::uuid AND id = $2::uuid AND done_at IS NULL
