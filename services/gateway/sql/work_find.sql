-- params:
-- What nobody works on: the oldest of each company and kind of which nothing is under way, and uploads
-- that have died. The company that was served longest ago comes first.
SELECT tenant_id, transfer_id, kind
  FROM (SELECT DISTINCT ON (w.tenant_id, w.kind) w.tenant_id, w.transfer_id, w.kind, w.waits_since
          FROM gateway.transfer_work w
         WHERE w.claimed_until < clock_timestamp() AND w.kind <> 'dead'
           AND (w.kind = 'upload' OR NOT EXISTS (SELECT FROM gateway.transfer_work o
                                                  WHERE o.tenant_id = w.tenant_id AND o.kind = w.kind
                                                    AND o.claimed_until >= clock_timestamp()))
         ORDER BY w.tenant_id, w.kind, w.transfer_id) next
 ORDER BY waits_since
