-- An event whose reaction ends the process leaves no failure behind. So starts without progress are
-- counted; after some, each event is noted here before it is tried (F36).
ALTER TABLE ${schema}.consumer_cursor
    ADD COLUMN starts int NOT NULL DEFAULT 0,
    ADD COLUMN trying_seq bigint NOT NULL DEFAULT 0,
    ADD COLUMN tries int NOT NULL DEFAULT 0;
