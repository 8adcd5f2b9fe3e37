-- params: tenant_id key unit_id at
-- The nearest unit with a setting in force, then the company, then the company's own record.
WITH RECURSIVE up AS (
    SELECT id, parent_id, 1 AS distance FROM directory.unit
     WHERE tenant_id = $1::uuid AND id = $3::uuid
     UNION ALL
    SELECT u.id, u.parent_id, up.distance + 1
      FROM directory.unit u JOIN up ON u.id = up.parent_id
     WHERE u.tenant_id = $1::uuid),
setting AS (
    SELECT s.key, s.value, s.unit_id, up.distance, s.effective_from, s.version
      FROM directory.policy_setting s LEFT JOIN up ON up.id = s.unit_id
     WHERE s.tenant_id = $1::uuid AND s.effective_from <= $4::timestamptz
       AND (s.unit_id IS NULL OR up.id IS NOT NULL)
     UNION ALL
    SELECT own.key, own.value, NULL, NULL, '-infinity', 0
      FROM directory.tenant t,
           LATERAL (VALUES ('timezone', t.time_zone), ('money_currency', t.currency_code))
                   AS own (key, value)
     WHERE t.tenant_id = $1::uuid)
SELECT DISTINCT ON (key) key, value, unit_id
  FROM setting
 WHERE $2::text IS NULL OR key = $2::text
 ORDER BY key, distance NULLS LAST, effective_from DESC, version DESC
