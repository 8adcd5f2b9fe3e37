-- params: tenant_id endpoint_id
-- Nothing of what failed before is held against it.
UPDATE gateway.outgoing
   SET attempts = 0, first_failed_us = 0, tried_us = 0, next_us = 0
 WHERE tenant_id = $1::uuid AND endpoint_id = $2::uuid AND first_failed_us > 0
