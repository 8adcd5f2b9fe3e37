-- params:
SELECT log_id, last_seq AS head_seq FROM bus.head WHERE one
