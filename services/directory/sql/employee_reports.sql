-- params: tenant_id id
SELECT count(*) AS n FROM directory.employee
 WHERE tenant_id = $1::uuid AND superior_id = $2::uuid AND active
