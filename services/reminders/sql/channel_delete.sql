-- params: tenant_id owner_id url
DELETE FROM reminders.channel
 WHERE tenant_id = $1::uuid AND owner_id = $2::uuid AND ($3::text IS NULL OR url = $3::text)
