-- params: tenant_id
-- Whether another company has something to do that nobody works on; as in work_find.
SELECT EXISTS (
       SELECT FROM gateway.transfer_work w
        WHERE w.tenant_id <> $1::uuid AND w.kind IN ('import', 'export') AND w.claimed_until < clock_timestamp()
          AND NOT EXISTS (SELECT FROM gateway.transfer_work o
                           WHERE o.tenant_id = w.tenant_id AND o.kind = w.kind
                             AND o.claimed_until >= clock_timestamp())) AS others_wait
