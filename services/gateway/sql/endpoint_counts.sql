-- params: tenant_id id
SELECT (SELECT count(*) FROM (SELECT FROM gateway.outgoing
                               WHERE tenant_id = $1::uuid AND endpoint_id = $2::uuid LIMIT 10000) AS w) AS pending,
       (SELECT count(*) FROM (SELECT FROM gateway.delivery
                               WHERE tenant_id = $1::uuid AND endpoint_id = $2::uuid AND state = 'parked'
                               LIMIT 10000) AS p) AS parked
