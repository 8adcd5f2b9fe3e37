-- params: tenant_id customer_id before_at before_key limit
-- Each kind gives its own next page by the whole key, so that no number of entries of one moment
-- can hide others. before_at and before_key are those of the last row of the page before.
SELECT happened_at, kind, subject, summary, actor_id, key AS _key
  FROM ((SELECT ended_at AS happened_at, 'interaction' AS kind, 'interactions/' || id AS subject,
                channel || CASE WHEN state = 'recorded' THEN ': ' || left(content, 200) ELSE ' (record missing)' END AS summary,
                employee_id AS actor_id, ('i' || id) COLLATE "C" AS key
           FROM customers.interaction
          WHERE tenant_id = $1::uuid AND customer_id = $2::uuid
            AND ($3::timestamptz IS NULL OR ended_at < $3::timestamptz
                 OR (ended_at = $3::timestamptz AND ('i' || id) COLLATE "C" > $4::text))
          ORDER BY ended_at DESC, id LIMIT $5::int)
        UNION ALL
        (SELECT asked_at, 'question', 'questions/' || id, left(text, 200), assignee_id,
                ('q' || id) COLLATE "C"
           FROM customers.question
          WHERE tenant_id = $1::uuid AND customer_id = $2::uuid
            AND ($3::timestamptz IS NULL OR asked_at < $3::timestamptz
                 OR (asked_at = $3::timestamptz AND ('q' || id) COLLATE "C" > $4::text))
          ORDER BY asked_at DESC, id LIMIT $5::int)
        UNION ALL
        (SELECT coalesce(answered_at, preliminary_answered_at), 'answer', 'questions/' || id,
                left(answer, 200), assignee_id, ('a' || id) COLLATE "C"
           FROM customers.question
          WHERE tenant_id = $1::uuid AND customer_id = $2::uuid AND state <> 'open'
            AND ($3::timestamptz IS NULL OR coalesce(answered_at, preliminary_answered_at) < $3::timestamptz
                 OR (coalesce(answered_at, preliminary_answered_at) = $3::timestamptz
                     AND ('a' || id) COLLATE "C" > $4::text))
          ORDER BY 1 DESC, id LIMIT $5::int)
        UNION ALL
        (SELECT ordered_at, 'order', 'orders/' || id,
                kind || ' of ' || currency_code || ' ' || trim(to_char(amount_minor / 100.0, '9999999999999990.00')), NULL,
                ('o' || id) COLLATE "C"
           FROM customers.sales_order
          WHERE tenant_id = $1::uuid AND customer_id = $2::uuid
            AND ($3::timestamptz IS NULL OR ordered_at < $3::timestamptz
                 OR (ordered_at = $3::timestamptz AND ('o' || id) COLLATE "C" > $4::text))
          ORDER BY ordered_at DESC, id LIMIT $5::int)
        UNION ALL
        (SELECT paid_at, 'payment', 'payments/' || id,
                'payment of ' || currency_code || ' ' || trim(to_char(amount_minor / 100.0, '9999999999999990.00')), NULL,
                ('p' || id) COLLATE "C"
           FROM customers.payment
          WHERE tenant_id = $1::uuid AND customer_id = $2::uuid
            AND ($3::timestamptz IS NULL OR paid_at < $3::timestamptz
                 OR (paid_at = $3::timestamptz AND ('p' || id) COLLATE "C" > $4::text))
          ORDER BY paid_at DESC, id LIMIT $5::int)
        UNION ALL
        (SELECT happened_at, kind, subject, summary, actor_id, ('f' || event_id) COLLATE "C"
           FROM customers.foreign_event
          WHERE tenant_id = $1::uuid AND customer_id = $2::uuid
            AND ($3::timestamptz IS NULL OR happened_at < $3::timestamptz
                 OR (happened_at = $3::timestamptz AND ('f' || event_id) COLLATE "C" > $4::text))
          ORDER BY happened_at DESC, event_id LIMIT $5::int)
        UNION ALL
        (SELECT created_at, 'file', 'customers/' || id, 'file opened', NULL, ('c' || id) COLLATE "C"
           FROM customers.customer WHERE tenant_id = $1::uuid AND id = $2::uuid
            AND ($3::timestamptz IS NULL OR created_at < $3::timestamptz
                 OR (created_at = $3::timestamptz AND ('c' || id) COLLATE "C" > $4::text)))) AS t
 ORDER BY happened_at DESC, key
 LIMIT $5::int;
