-- params:
SELECT (SELECT last_seq FROM bus.head) AS head_seq,
       (SELECT count(*) FROM bus.outbox) AS waiting
