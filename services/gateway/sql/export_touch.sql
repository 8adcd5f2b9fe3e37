-- params: tenant_id id
-- For an event about it that changes nothing else: each has a version of its own.
UPDATE gateway.export SET row_version = row_version + 1
 WHERE tenant_id = $1::uuid AND id = $2::uuid
RETURNING row_version::text AS etag
