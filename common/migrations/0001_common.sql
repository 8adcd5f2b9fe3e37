-- The tables that every daemon has in its own schema.

-- Answers of commands, so that repeating one is safe (protocols H.1). One table without partitions:
-- the key must be unique over the 48 hours that a row lives.
CREATE TABLE ${schema}.idempotency (
    tenant_id    uuid NOT NULL,
    actor_id     uuid NOT NULL,
    method       text NOT NULL,
    key          text NOT NULL,
    fingerprint  bytea NOT NULL,
    reply_type   text,
    reply        bytea,
    created_at   timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, actor_id, method, key)
);
CREATE INDEX idempotency_by_age ON ${schema}.idempotency (created_at);

ALTER TABLE ${schema}.idempotency ENABLE ROW LEVEL SECURITY;
ALTER TABLE ${schema}.idempotency FORCE ROW LEVEL SECURITY;
-- The setting is read in a sub-select, here and in every wall: once a statement, not once a row.
CREATE POLICY tenant_wall ON ${schema}.idempotency
    USING (tenant_id = (SELECT nullif(current_setting('daybook.tenant', true), '')::uuid));

-- How far each consumer of the event log has come (protocols F.3). It is no tenant's: a consumer
-- hears all. event_id tells whether a log with another log_id is the same one up to here.
CREATE TABLE ${schema}.consumer_cursor (
    consumer      text PRIMARY KEY,
    log_id        uuid,
    seq           bigint NOT NULL CHECK (seq >= 0),
    event_id      uuid,
    replay_until  bigint NOT NULL DEFAULT 0, -- a rebuild is under way up to here
    updated_at    timestamptz
);

-- Events that a reaction could not take, and those of the same aggregate behind them (F36).
CREATE TABLE ${schema}.parked_event (
    consumer   text NOT NULL,
    seq        bigint NOT NULL,
    tenant_id  uuid NOT NULL,
    type       text NOT NULL,
    aggregate  text NOT NULL,
    event      bytea NOT NULL, -- a packed daybook.bus.v1.Event
    attempts   int NOT NULL,
    reason     text NOT NULL,
    parked_at  timestamptz NOT NULL,
    -- replay: to be tried (again) from next_try_at on; parked: given up, an operator decides; done.
    state      text NOT NULL CHECK (state IN ('parked', 'replay', 'done')),
    next_try_at timestamptz NOT NULL DEFAULT '-infinity',
    PRIMARY KEY (consumer, seq)
);
-- Asked for each batch: which aggregates must wait?
CREATE INDEX parked_event_waiting ON ${schema}.parked_event (consumer, aggregate, seq)
    WHERE state <> 'done';

GRANT SELECT, INSERT, UPDATE, DELETE
   ON ${schema}.idempotency, ${schema}.consumer_cursor, ${schema}.parked_event TO ${role};
