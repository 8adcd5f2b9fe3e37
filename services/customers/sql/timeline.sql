-- params: tenant_id customer_id before_at before_key limit
SELECT happened_at, kind, subject, summary, actor_id, key AS _key
  FROM ((SELECT ended_at AS happened_at, 'interaction' AS kind, 'interactions/' || id AS subject,
                channel || CASE WHEN state = 'recorded' THEN ': ' || left(content, 200) ELSE ' (record missing)' END AS summary,
                employee_id AS actor_id, 'i' || id AS key
           FROM customers.interaction
          WHERE tenant_id = $1::uuid AND customer_id = $2::uuid
            AND ($3::timestamptz IS NULL OR ended_at <= $3::timestamptz)
          ORDER BY ended_at DESC LIMIT $5::int + 50)
        UNION ALL
        (SELECT asked_at, 'question', 'questions/' || id, left(text, 200), assignee_id, 'q' || id
           FROM customers.question
          WHERE tenant_id = $1::uuid AND customer_id = $2::uuid
            AND ($3::timestamptz IS NULL OR asked_at <= $3::timestamptz)
          ORDER BY asked_at DESC LIMIT $5::int + 50)
        UNION ALL
        (SELECT coalesce(answered_at, preliminary_answered_at), 'answer', 'questions/' || id,
                left(answer, 200), assignee_id, 'a' || id
           FROM customers.question
          WHERE tenant_id = $1::uuid AND customer_id = $2::uuid AND state <> 'open'
            AND ($3::timestamptz IS NULL OR coalesce(answered_at, preliminary_answered_at) <= $3::timestamptz)
          ORDER BY 1 DESC LIMIT $5::int + 50)
        UNION ALL
        (SELECT ordered_at, 'order', 'orders/' || id,
                kind || ' of ' || currency_code || ' ' || trim(to_char(amount_minor / 100.0, '999999999990.00')), NULL, 'o' || id
           FROM customers.sales_order
          WHERE tenant_id = $1::uuid AND customer_id = $2::uuid
            AND ($3::timestamptz IS NULL OR ordered_at <= $3::timestamptz)
          ORDER BY ordered_at DESC LIMIT $5::int + 50)
        UNION ALL
        (SELECT paid_at, 'payment', 'payments/' || id,
                'payment of ' || currency_code || ' ' || trim(to_char(amount_minor / 100.0, '999999999990.00')), NULL, 'p' || id
           FROM customers.payment
          WHERE tenant_id = $1::uuid AND customer_id = $2::uuid
            AND ($3::timestamptz IS NULL OR paid_at <= $3::timestamptz)
          ORDER BY paid_at DESC LIMIT $5::int + 50)
        UNION ALL
        (SELECT happened_at, kind, subject, summary, actor_id, 'f' || event_id
           FROM customers.foreign_event
          WHERE tenant_id = $1::uuid AND customer_id = $2::uuid
            AND ($3::timestamptz IS NULL OR happened_at <= $3::timestamptz)
          ORDER BY happened_at DESC LIMIT $5::int + 50)
        UNION ALL
        (SELECT created_at, 'file', 'customers/' || id, 'file opened', NULL, 'c' || id
           FROM customers.customer WHERE tenant_id = $1::uuid AND id = $2::uuid
            AND ($3::timestamptz IS NULL OR created_at <= $3::timestamptz))) AS t
 WHERE $3::timestamptz IS NULL OR happened_at < $3::timestamptz
    OR (happened_at = $3::timestamptz AND key > $4::text)
 ORDER BY happened_at DESC, key
 LIMIT $5::int;
