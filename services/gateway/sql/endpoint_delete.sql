-- params: tenant_id id
-- Its deliveries go with it, by their foreign key; bodies stay until they are old.
WITH waiting AS (
    DELETE FROM gateway.outgoing WHERE tenant_id = $1::uuid AND endpoint_id = $2::uuid
), tried AS (
    DELETE FROM gateway.attempt WHERE tenant_id = $1::uuid AND endpoint_id = $2::uuid
)
DELETE FROM gateway.endpoint WHERE tenant_id = $1::uuid AND id = $2::uuid
