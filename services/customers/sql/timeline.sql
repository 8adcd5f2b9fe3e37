-- params: tenant_id customer_id before_at before_key limit kinds from to
-- Amounts are added to the summary by the digits of their currency, which SQL does not know.
-- Each kind gives its own next page by the whole key, so that no number of entries of one moment
-- can hide others. before_at and before_key are those of the last row of the page before.
SELECT happened_at, kind, subject, summary, actor_id, key AS _key, currency AS _currency,
       amount_minor AS _amount_minor
  FROM ((SELECT ended_at AS happened_at, 'interaction' AS kind, 'interactions/' || id AS subject,
                channel || CASE WHEN state = 'recorded' THEN ': ' || left(content, 200) ELSE ' (record missing)' END AS summary,
                employee_id AS actor_id, ('i' || id) COLLATE "C" AS key,
                NULL::text AS currency, NULL::bigint AS amount_minor
           FROM customers.interaction
          WHERE tenant_id = $1::uuid AND customer_id = $2::uuid
            AND ($6::text[] IS NULL OR 'interaction' = ANY ($6::text[]))
            AND ($7::timestamptz IS NULL OR ended_at >= $7::timestamptz)
            AND ($8::timestamptz IS NULL OR ended_at < $8::timestamptz)
            AND ($3::timestamptz IS NULL OR ended_at < $3::timestamptz
                 OR (ended_at = $3::timestamptz AND ('i' || id) COLLATE "C" > $4::text))
          ORDER BY ended_at DESC, id LIMIT $5::int)
        UNION ALL
        (SELECT asked_at, 'question', 'questions/' || id, left(text, 200), assignee_id,
                ('q' || id) COLLATE "C",
                NULL, NULL
           FROM customers.question
          WHERE tenant_id = $1::uuid AND customer_id = $2::uuid
            AND ($6::text[] IS NULL OR 'question' = ANY ($6::text[]))
            AND ($7::timestamptz IS NULL OR asked_at >= $7::timestamptz)
            AND ($8::timestamptz IS NULL OR asked_at < $8::timestamptz)
            AND ($3::timestamptz IS NULL OR asked_at < $3::timestamptz
                 OR (asked_at = $3::timestamptz AND ('q' || id) COLLATE "C" > $4::text))
          ORDER BY asked_at DESC, id LIMIT $5::int)
        UNION ALL
        (SELECT coalesce(answered_at, preliminary_answered_at), 'answer', 'questions/' || id,
                left(answer, 200), assignee_id, ('a' || id) COLLATE "C",
                NULL, NULL
           FROM customers.question
          WHERE tenant_id = $1::uuid AND customer_id = $2::uuid AND state <> 'open'
            AND ($6::text[] IS NULL OR 'answer' = ANY ($6::text[]))
            AND ($7::timestamptz IS NULL OR coalesce(answered_at, preliminary_answered_at) >= $7::timestamptz)
            AND ($8::timestamptz IS NULL OR coalesce(answered_at, preliminary_answered_at) < $8::timestamptz)
            AND ($3::timestamptz IS NULL OR coalesce(answered_at, preliminary_answered_at) < $3::timestamptz
                 OR (coalesce(answered_at, preliminary_answered_at) = $3::timestamptz
                     AND ('a' || id) COLLATE "C" > $4::text))
          ORDER BY 1 DESC, id LIMIT $5::int)
        UNION ALL
        (SELECT ordered_at, 'order', 'orders/' || id,
                kind || ' of ', NULL,
                ('o' || id) COLLATE "C",
                currency_code, amount_minor
           FROM customers.sales_order
          WHERE tenant_id = $1::uuid AND customer_id = $2::uuid
            AND ($6::text[] IS NULL OR 'order' = ANY ($6::text[]))
            AND ($7::timestamptz IS NULL OR ordered_at >= $7::timestamptz)
            AND ($8::timestamptz IS NULL OR ordered_at < $8::timestamptz)
            AND ($3::timestamptz IS NULL OR ordered_at < $3::timestamptz
                 OR (ordered_at = $3::timestamptz AND ('o' || id) COLLATE "C" > $4::text))
          ORDER BY ordered_at DESC, id LIMIT $5::int)
        UNION ALL
        (SELECT paid_at, 'payment', 'payments/' || id,
                'payment of ', NULL,
                ('p' || id) COLLATE "C",
                currency_code, amount_minor
           FROM customers.payment
          WHERE tenant_id = $1::uuid AND customer_id = $2::uuid
            AND ($6::text[] IS NULL OR 'payment' = ANY ($6::text[]))
            AND ($7::timestamptz IS NULL OR paid_at >= $7::timestamptz)
            AND ($8::timestamptz IS NULL OR paid_at < $8::timestamptz)
            AND ($3::timestamptz IS NULL OR paid_at < $3::timestamptz
                 OR (paid_at = $3::timestamptz AND ('p' || id) COLLATE "C" > $4::text))
          ORDER BY paid_at DESC, id LIMIT $5::int)
        UNION ALL
        (SELECT happened_at, kind, subject, summary, actor_id, ('f' || event_id) COLLATE "C",
                NULL, NULL
           FROM customers.foreign_event
          WHERE tenant_id = $1::uuid AND customer_id = $2::uuid
            AND ($6::text[] IS NULL OR kind = ANY ($6::text[]))
            AND ($7::timestamptz IS NULL OR happened_at >= $7::timestamptz)
            AND ($8::timestamptz IS NULL OR happened_at < $8::timestamptz)
            AND ($3::timestamptz IS NULL OR happened_at < $3::timestamptz
                 OR (happened_at = $3::timestamptz AND ('f' || event_id) COLLATE "C" > $4::text))
          ORDER BY happened_at DESC, event_id LIMIT $5::int)
        UNION ALL
        (SELECT created_at, 'file', 'customers/' || id, 'file opened', NULL, ('c' || id) COLLATE "C",
                NULL, NULL
           FROM customers.customer WHERE tenant_id = $1::uuid AND id = $2::uuid
            AND ($6::text[] IS NULL OR 'file' = ANY ($6::text[]))
            AND ($7::timestamptz IS NULL OR created_at >= $7::timestamptz)
            AND ($8::timestamptz IS NULL OR created_at < $8::timestamptz)
            AND ($3::timestamptz IS NULL OR created_at < $3::timestamptz
                 OR (created_at = $3::timestamptz AND ('c' || id) COLLATE "C" > $4::text)))) AS t
 ORDER BY happened_at DESC, key
 LIMIT $5::int;
