-- params: tenant_id after
-- The company's own channel has the nil id, so the first look begins with it.
SELECT owner_id AS id, secret AS first, old_secret AS second
  FROM reminders.channel
 WHERE tenant_id = $1::uuid
   AND (owner_id > $2::uuid OR owner_id = $2::uuid AND $2::uuid = '00000000-0000-0000-0000-000000000000')
 ORDER BY owner_id
 LIMIT 1000
