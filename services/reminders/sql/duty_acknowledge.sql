-- params: tenant_id id acknowledged_at note
UPDATE reminders.obligation
   SET acknowledged_at = $3::timestamptz, acknowledge_note = nullif($4::text, ''),
       row_version = row_version + 1
 WHERE tenant_id = $1::uuid AND id = $2::uuid
