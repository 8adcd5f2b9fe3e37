-- params:
-- A duty that somebody holds must not hold up a batch of a thousand.
SET LOCAL lock_timeout = '100ms'
