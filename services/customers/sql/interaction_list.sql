-- params: tenant_id customer_id before_ended before_id limit
SELECT i.id, i.customer_id, i.contact_id, i.employee_id, i.visit_id, i.channel, i.direction, i.ended_at, i.content,
       i.needs, i.result, i.next_step, i.next_contact_at, i.satisfaction, i.state, i.recorded_at,
       i.late, i.ref_source AS "external_ref.source", i.ref_id AS "external_ref.id",
       i.row_version AS _row_version,
       (SELECT json_agg(json_build_object('id', q.id, 'customerId', q.customer_id,
               'interactionId', q.interaction_id, 'text', q.text,
               'askedAt', to_char(q.asked_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
               'assigneeId', q.assignee_id, 'state', 'QUESTION_STATE_' || upper(q.state),
               'preliminaryAnsweredAt', to_char(q.preliminary_answered_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
               'answeredAt', to_char(q.answered_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
               'answer', q.answer, 'late', q.late, 'preliminaryAnswer', q.preliminary_answer,
               'finalPromisedAt', to_char(q.final_promised_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')) ORDER BY q.id)
          FROM customers.question q
         WHERE q.tenant_id = i.tenant_id AND q.interaction_id = i.id) AS questions
  FROM customers.interaction i
 WHERE i.tenant_id = $1::uuid AND i.customer_id = $2::uuid
   AND ($3::timestamptz IS NULL OR i.ended_at < $3::timestamptz
        OR (i.ended_at = $3::timestamptz AND i.id > $4::uuid))
 ORDER BY i.ended_at DESC, i.id
 LIMIT $5::int;
