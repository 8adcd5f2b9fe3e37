-- params:
-- Gives the transaction a number, so that its commit is one that is written and replicated: what it
-- has read is then as safe as it is itself.
SELECT pg_current_xact_id()
