-- params:
-- Numbers after the restored position are given out a second time, so it is another log: whoever kept a position hears
-- of it. The new term makes a relay that leads look again.
UPDATE bus.head SET log_id = gen_random_uuid(), term = term + 1 WHERE one RETURNING log_id, last_seq
