-- params: tenant_id id after_id changed overdue done_at
UPDATE reminders.recalculation
   SET after_id = $3::uuid, changed = changed + $4::int, overdue = $5::boolean,
       done_at = $6::timestamptz
 WHERE tenant_id = $1::uuid AND id = $2::uuid
