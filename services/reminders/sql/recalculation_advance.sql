-- params: tenant_id id after_id changed done_at
UPDATE reminders.recalculation
   SET after_id = $3::uuid, changed = changed + $4::int, done_at = $5::timestamptz
 WHERE tenant_id = $1::uuid AND id = $2::uuid
