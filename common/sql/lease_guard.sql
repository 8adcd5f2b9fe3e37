-- params:
-- A replica that freezes in a transaction holds rows for no longer than this.
SET LOCAL idle_in_transaction_session_timeout = '2s'
