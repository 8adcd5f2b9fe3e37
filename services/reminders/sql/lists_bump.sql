-- params: tenant_id employees
INSERT INTO reminders.list_version AS v (tenant_id, employee_id, version)
SELECT $1::uuid, e, 1
  FROM unnest($2::uuid[]) AS e
 ORDER BY e
ON CONFLICT (tenant_id, employee_id) DO UPDATE SET version = v.version + 1
