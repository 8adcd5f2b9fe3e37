-- The way of an event (protocols F.3): a command inserts it into the outbox in its own transaction;
-- the relay moves it into the log, which alone is read with a cursor.

-- A queue: rows live for milliseconds. Vacuum goes by their number, for the table never grows.
CREATE TABLE bus.outbox (
    -- CACHE 1 matters: with more, ids of different sessions are not in the order of time, and the
    -- events of an aggregate not in the order of its changes.
    id                 bigint GENERATED ALWAYS AS IDENTITY (CACHE 1) PRIMARY KEY,
    event_id           uuid NOT NULL,
    tenant_id          uuid NOT NULL,
    type               text NOT NULL,
    aggregate          text NOT NULL,
    aggregate_version  bigint NOT NULL,
    occurred_at        timestamptz NOT NULL,
    actor_id           uuid,
    request_id         text,
    traceparent        text,
    payload            bytea NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
        autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 50000);

-- One row, whose lock serialises sequencers. log_id is the incarnation of the log: it changes when
-- history went back (timeline), for then numbers are given out twice. term fences an older leader.
CREATE TABLE bus.head (
    one       boolean PRIMARY KEY DEFAULT true CHECK (one),
    log_id    uuid NOT NULL,
    last_seq  bigint NOT NULL DEFAULT 0 CHECK (last_seq >= 0),
    timeline  int NOT NULL DEFAULT 0, -- 0: the first relay writes what it finds
    term      bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 10); -- updated all the time: room for HOT updates on its page
INSERT INTO bus.head (log_id) VALUES (gen_random_uuid());

-- The seq of each tenant's newest event, for prev_seq.
CREATE TABLE bus.tenant_head (
    tenant_id  uuid PRIMARY KEY,
    last_seq   bigint NOT NULL
) WITH (fillfactor = 50);

-- Events up to `counted` by tenant and type, for GetHead; the relay counts on every few seconds.
CREATE TABLE bus.type_count (
    tenant_id  uuid NOT NULL,
    type       text NOT NULL,
    n          bigint NOT NULL,
    PRIMARY KEY (tenant_id, type)
) WITH (fillfactor = 50);
CREATE TABLE bus.counted (
    one  boolean PRIMARY KEY DEFAULT true CHECK (one),
    seq  bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 10);
INSERT INTO bus.counted DEFAULT VALUES;

-- Append-only. Not partitioned: a unique seq and partitions by time exclude each other, and as long
-- as nothing is deleted partitions buy nothing. They come with retention, as a table of its own
-- into which old rows are moved by seq.
CREATE TABLE bus.log (
    seq                bigint PRIMARY KEY,
    prev_seq           bigint NOT NULL, -- of the same tenant; 0: its first
    event_id           uuid NOT NULL,
    tenant_id          uuid NOT NULL,
    type               text NOT NULL,
    aggregate          text NOT NULL,
    aggregate_version  bigint NOT NULL,
    occurred_at        timestamptz NOT NULL,
    actor_id           uuid,
    request_id         text,
    traceparent        text,
    payload            bytea NOT NULL,
    sequenced_at       timestamptz NOT NULL,
    CHECK (prev_seq < seq)
) WITH (fillfactor = 100, autovacuum_vacuum_insert_scale_factor = 0.05);
-- A consumer of a restored log looks for its last event by id (F15).
CREATE UNIQUE INDEX log_event_id ON bus.log (event_id);
CREATE INDEX log_by_tenant ON bus.log (tenant_id, seq);
CREATE INDEX log_by_aggregate ON bus.log (aggregate, seq);
CREATE INDEX log_by_time ON bus.log USING brin (sequenced_at);

-- Every daemon hands events in, for the tenant it works for and no other; none reads the outbox.
-- Only the bus takes them out. No FORCE: the owner's tools count what is waiting.
GRANT INSERT ON bus.outbox TO daybook_daemon;
GRANT SELECT ON bus.head, bus.log TO daybook_daemon;
GRANT SELECT, UPDATE, DELETE ON bus.outbox TO ${role};
GRANT SELECT, UPDATE ON bus.head TO ${role};
GRANT SELECT, INSERT, UPDATE ON bus.tenant_head, bus.type_count, bus.counted TO ${role};
-- The log has no wall: the bus serves all tenants and names the tenant in its SQL.
GRANT SELECT, INSERT, DELETE ON bus.log TO ${role};

ALTER TABLE bus.outbox ENABLE ROW LEVEL SECURITY;
CREATE POLICY hand_in ON bus.outbox FOR INSERT TO daybook_daemon
    WITH CHECK (tenant_id = (SELECT nullif(current_setting('daybook.tenant', true), '')::uuid));
CREATE POLICY take_out ON bus.outbox FOR ALL TO ${role} USING (true) WITH CHECK (false);
