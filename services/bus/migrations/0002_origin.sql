-- Where a change came from, for the audit trail (SEC-10). All NULL for effects of timers and
-- reactions; `fields` names what an update was asked to change, never its values.
ALTER TABLE bus.outbox
    ADD COLUMN method text,
    ADD COLUMN remote_address text,
    ADD COLUMN fields text[];
ALTER TABLE bus.log
    ADD COLUMN method text,
    ADD COLUMN remote_address text,
    ADD COLUMN fields text[];
