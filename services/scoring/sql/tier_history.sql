-- params: tenant_id customer_id
SELECT old_tier, new_tier, changed_at, value_score, reasons
  FROM scoring.tier_change
 WHERE tenant_id = $1::uuid AND customer_id = $2::uuid
 ORDER BY tier_version DESC
 LIMIT 50;
