-- params: tenant_id at
SELECT DISTINCT ON (key) key, value
  FROM scoring.policy
 WHERE tenant_id = $1::uuid AND effective_from <= $2::timestamptz
 ORDER BY key, effective_from DESC;
