-- params: tenant_id visible owner_id customer_id visit_id open_only after_due after_id limit
-- What was promised to a customer goes with him to his new owner (REM-18), who sees it then. His
-- customers are found first, so that either way there is an index.
SELECT id, customer_id, visit_id, text, owner_id, promised_at, due_at, undated, state, fulfilled_at,
       result, broken, source, row_version AS _row_version
  FROM visits.commitment
 WHERE tenant_id = $1::uuid
   AND ($2::uuid[] IS NULL OR owner_id = ANY ($2::uuid[])
        OR customer_id = ANY (ARRAY(SELECT c.id FROM visits.customer c
                                     WHERE c.tenant_id = $1::uuid
                                       AND c.owner_id = ANY ($2::uuid[]))))
   AND ($3::uuid IS NULL OR owner_id = $3::uuid)
   AND ($4::uuid IS NULL OR customer_id = $4::uuid)
   AND ($5::uuid IS NULL OR visit_id = $5::uuid)
   AND (NOT coalesce($6::boolean, false) OR state = 'open')
   AND ($7::timestamptz IS NULL OR (due_at, id) > ($7::timestamptz, $8::uuid))
 ORDER BY due_at, id
 LIMIT $9::int;
