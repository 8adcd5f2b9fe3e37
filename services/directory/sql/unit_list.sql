-- params: tenant_id limit
SELECT id, code, name, parent_id, city_code, row_version::text AS etag
  FROM directory.unit
 WHERE tenant_id = $1::uuid
 ORDER BY code
 LIMIT $2::int
