-- Webhooks: endpoints, what is posted to them, and the log of that (EXT-16, protocols D).

CREATE TABLE ${schema}.endpoint (
    tenant_id         uuid NOT NULL,
    id                uuid NOT NULL,
    url               text NOT NULL,
    types             text[] NOT NULL, -- full names, and prefixes that end in a dot; none = all
    description       text NOT NULL,
    secret            text NOT NULL,   -- sealed
    old_secret        text,            -- sealed; signs too until old_secret_until
    old_secret_until  timestamptz,
    state             text NOT NULL CHECK (state IN ('active', 'paused', 'disabled')),
    disabled_reason   text NOT NULL DEFAULT '',
    failing_since     timestamptz,
    created_at        timestamptz NOT NULL,
    row_version       bigint NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

-- What is posted: made once for all endpoints of the company, and sent byte for byte.
CREATE TABLE ${schema}.message (
    tenant_id    uuid NOT NULL,
    event_id     uuid NOT NULL,
    type         text NOT NULL,
    subject      text NOT NULL,
    occurred_at  timestamptz NOT NULL,
    body         text NOT NULL,
    PRIMARY KEY (tenant_id, event_id)
);

-- An event for an endpoint, and what became of it. Deliveries about one thing (key) are made in the
-- order of seq, by whoever owns their lane.
CREATE TABLE ${schema}.delivery (
    tenant_id     uuid NOT NULL,
    endpoint_id   uuid NOT NULL,
    event_id      uuid NOT NULL,
    seq           bigint NOT NULL,
    lane          smallint NOT NULL,
    key           bigint NOT NULL,
    state         text NOT NULL CHECK (state IN ('pending', 'delivered', 'parked')),
    attempts      int NOT NULL DEFAULT 0,
    attempted_at  timestamptz,
    last_status   int NOT NULL DEFAULT 0,
    last_result   text NOT NULL DEFAULT '',
    PRIMARY KEY (tenant_id, endpoint_id, event_id),
    FOREIGN KEY (tenant_id, endpoint_id) REFERENCES ${schema}.endpoint ON DELETE CASCADE
) WITH (fillfactor = 80);
CREATE INDEX delivery_parked ON ${schema}.delivery (tenant_id, endpoint_id, event_id)
    WHERE state = 'parked';

-- The pending ones, as the work list of the lanes. Instants are microseconds since 1970.
CREATE TABLE ${schema}.outgoing (
    tenant_id        uuid NOT NULL,
    endpoint_id      uuid NOT NULL,
    lane             smallint NOT NULL CHECK (lane BETWEEN 0 AND 15),
    seq              bigint NOT NULL,
    event_id         uuid NOT NULL,
    key              bigint NOT NULL,
    attempts         int NOT NULL DEFAULT 0,
    first_failed_us  bigint NOT NULL DEFAULT 0, -- 0 = has not failed
    tried_us         bigint NOT NULL DEFAULT 0, -- when it failed last
    next_us          bigint NOT NULL DEFAULT 0, -- not before
    PRIMARY KEY (tenant_id, endpoint_id, lane, seq, event_id)
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);

-- Attempts that failed.
CREATE TABLE ${schema}.attempt (
    tenant_id    uuid NOT NULL,
    endpoint_id  uuid NOT NULL,
    event_id     uuid NOT NULL,
    at           timestamptz NOT NULL,
    status       int NOT NULL,
    result       text NOT NULL,
    took_ms      int NOT NULL,
    PRIMARY KEY (tenant_id, endpoint_id, event_id, at)
);

-- Lanes of delivery, owned by lease (common/lease.h), and the replicas they are spread over.
CREATE TABLE ${schema}.shard_lease (
    shard       smallint PRIMARY KEY,
    owner       text,
    version     bigint NOT NULL DEFAULT 0,
    expires_at  timestamptz NOT NULL DEFAULT '-infinity',
    UNIQUE (shard, version)
) WITH (fillfactor = 50);
INSERT INTO ${schema}.shard_lease (shard) SELECT generate_series(0, 15);
CREATE TABLE ${schema}.member (
    instance    text PRIMARY KEY,
    expires_at  timestamptz NOT NULL
) WITH (fillfactor = 50);

DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['endpoint', 'message', 'delivery', 'outgoing', 'attempt'] LOOP
        EXECUTE format('ALTER TABLE ${schema}.%I ALTER COLUMN tenant_id SET (n_distinct = 1)', t);
        EXECUTE format('ALTER TABLE ${schema}.%I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE ${schema}.%I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY tenant_wall ON ${schema}.%I USING (tenant_id = '
            '(SELECT nullif(current_setting(''daybook.tenant'', true), '''')::uuid))', t);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ${schema}.%I TO ${role}', t);
    END LOOP;
    -- The work list holds ids and moments only: without a tenant set it may be looked through.
    CREATE POLICY look_for_work ON ${schema}.outgoing FOR SELECT
        USING ((SELECT nullif(current_setting('daybook.tenant', true), '') IS NULL));
    GRANT SELECT, INSERT, UPDATE, DELETE ON ${schema}.shard_lease, ${schema}.member TO ${role};
END $$;

-- Every statement goes by index from a short list of keys, on empty tables and full ones.
ALTER ROLE ${role} SET plan_cache_mode = force_generic_plan;
ALTER ROLE ${role} SET enable_seqscan = off;
ALTER ROLE ${role} SET enable_hashjoin = off;
ALTER ROLE ${role} SET enable_mergejoin = off;
ALTER ROLE ${role} SET jit = off;
