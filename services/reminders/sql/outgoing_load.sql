-- params: tenant_id delivery_id
SELECT n.id, n.obligation_id AS reminder_id, n.rule, n.step_kind, n.step, n.recipient_id, n.channel,
       n.due_at, n.fired_at, n.late, n.text,
       n.state AS _state, n.attempts AS _attempts,
       o.closed_at IS NOT NULL AS _closed, o.due_at AS _due_at, o.subject AS _subject,
       o.unit_id AS _unit_id, c.owner_id AS _owner_id, c.url AS _url, c.secret AS _secret,
       c.old_secret AS _old_secret
  FROM reminders.notification n
  JOIN reminders.obligation o ON o.tenant_id = n.tenant_id AND o.id = n.obligation_id
  LEFT JOIN LATERAL (SELECT owner_id, url, secret,
                            CASE WHEN old_until > clock_timestamp() THEN old_secret END AS old_secret
                       FROM reminders.channel
                      WHERE tenant_id = $1::uuid
                        AND owner_id IN (n.recipient_id, '00000000-0000-0000-0000-000000000000')
                      ORDER BY owner_id = n.recipient_id DESC
                      LIMIT 1) AS c ON true
 WHERE n.tenant_id = $1::uuid AND n.id = $2::uuid
