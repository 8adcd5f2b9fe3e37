-- params:
SELECT instance
  FROM reminders.member
 WHERE expires_at > clock_timestamp()
 ORDER BY instance
