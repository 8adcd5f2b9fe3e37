-- params:
-- Row level security does not hold for a superuser, nor for who may act as the owner of the tables. No daemon connects
-- as the owner, who needs no more than CREATEROLE.
SELECT CASE rolname WHEN 'daybook_owner' THEN 'warn' ELSE 'fail' END AS level,
       format('role %s is a superuser or passes by row level security', rolname) AS detail
  FROM pg_catalog.pg_roles
 WHERE rolname LIKE 'daybook\_%' AND (rolsuper OR rolbypassrls)
UNION ALL
SELECT 'fail', format('role %s may act as the owner of the schemas', m.rolname)
  FROM pg_catalog.pg_auth_members a
  JOIN pg_catalog.pg_roles m ON m.oid = a.member
  JOIN pg_catalog.pg_roles r ON r.oid = a.roleid
 WHERE r.rolname = 'daybook_owner' AND m.rolname LIKE 'daybook\_%'
