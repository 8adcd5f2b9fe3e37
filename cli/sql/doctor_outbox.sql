-- params:
SELECT min(id) AS first_id, count(*) AS n FROM bus.outbox
