-- params: lanes
SELECT count(*) AS pending, min(event_id::text) AS oldest
  FROM gateway.outgoing
 WHERE lane = ANY ($1::smallint[])
