-- params: instance
DELETE FROM reminders.member WHERE instance = $1::text
