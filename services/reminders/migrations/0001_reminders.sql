-- Obligations with their timers, the ledger of notices, leases, daily lists (REM-01 to REM-14).
--
-- Instants that the engine compares and sorts are microseconds since 1970 (bigint, columns ..._us);
-- what people and other statements read is timestamptz.

CREATE FUNCTION ${schema}.at(us bigint) RETURNS timestamptz
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN timestamptz '1970-01-01 00:00:00+00' + us * interval '1 microsecond';

-- One duty with its clock. The id is made from rule, subject and occurrence (obligation.h), so the
-- primary key is also the rule "at most one per rule, subject and occurrence" (REM-07), and an event
-- finds its duty without another index. Nothing that firing changes is indexed: those updates are
-- HOT.
CREATE TABLE ${schema}.obligation (
    tenant_id        uuid NOT NULL,
    id               uuid NOT NULL,
    rule             text NOT NULL,
    subject          text NOT NULL,
    customer_id      uuid,
    assignee_id      uuid NOT NULL,
    unit_id          uuid,
    title            text NOT NULL,
    starts_at        timestamptz NOT NULL,
    due_at           timestamptz NOT NULL,
    known_us         bigint NOT NULL,  -- when the opening event happened
    named_due_us     bigint,           -- due time that the event named, for a recalculation
    state            text NOT NULL
                     CHECK (state IN ('pending', 'done', 'done_late', 'overdue', 'cancelled')),
    steps_fired      int NOT NULL DEFAULT 0,
    plan             bigint[] NOT NULL, -- moments of the steps, rising
    tells            text NOT NULL,     -- whom each step tells, parted by ";"
    round            smallint NOT NULL DEFAULT 0, -- how often the plan was made anew (REM-09)
    next_step        smallint,          -- index into plan; with next_us a copy of the timer
    next_us          bigint,
    closed_at        timestamptz,
    late_by_s        bigint NOT NULL DEFAULT 0,
    acknowledged_at  timestamptz,
    acknowledge_note text,
    snoozed_until    timestamptz,
    snooze_count     smallint NOT NULL DEFAULT 0,
    snooze_reason    text,
    policies         json,
    explanation      text,             -- its lines
    row_version      bigint NOT NULL,
    PRIMARY KEY (tenant_id, id),
    CHECK ((closed_at IS NULL) = (state IN ('pending', 'overdue'))),
    CHECK (closed_at IS NULL OR next_us IS NULL)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
-- Open ones of a person by due time (closed_at IS NULL), and those closed on a day.
CREATE INDEX obligation_by_assignee ON ${schema}.obligation (tenant_id, assignee_id, closed_at, due_at);

-- What must fire next: one row a living duty. Firing deletes or moves it; nothing else lives here,
-- so the cost of a look is that of what is due.
CREATE TABLE ${schema}.timer (
    tenant_id      uuid NOT NULL,
    obligation_id  uuid NOT NULL,
    shard          smallint NOT NULL CHECK (shard BETWEEN 0 AND 63), -- low 6 bits of obligation_id
    step           smallint NOT NULL,
    due_us         bigint NOT NULL,
    PRIMARY KEY (tenant_id, obligation_id)
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);
CREATE INDEX timer_due ON ${schema}.timer (shard, due_us, obligation_id);
-- For lists of a whole company.
CREATE INDEX timer_of_tenant ON ${schema}.timer (tenant_id, due_us, obligation_id);

-- A timer that could not be fired, taken out so that it does not hold up the others.
CREATE TABLE ${schema}.timer_parked (
    tenant_id      uuid NOT NULL,
    obligation_id  uuid NOT NULL,
    step           smallint NOT NULL,
    due_us         bigint NOT NULL,
    reason         text NOT NULL,
    parked_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, obligation_id, step)
);

-- A duty was closed before it was opened; the opening event, when it comes, arms nothing (REM-06).
CREATE TABLE ${schema}.tombstone (
    tenant_id      uuid NOT NULL,
    obligation_id  uuid NOT NULL,
    cancelled      boolean NOT NULL,
    closed_at      timestamptz NOT NULL,
    made_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, obligation_id)
);
CREATE INDEX tombstone_by_age ON ${schema}.tombstone (tenant_id, made_at);

-- Shards of timers (0 to 63) and lanes of delivery (64 to 71), owned by lease. `version` rises with
-- each change of owner. It is in a unique index so that an owner's FOR KEY SHARE holds up a change
-- of owner but not a renewal. No tenant's data.
CREATE TABLE ${schema}.shard_lease (
    shard       smallint PRIMARY KEY,
    owner       text,
    version     bigint NOT NULL DEFAULT 0,
    expires_at  timestamptz NOT NULL DEFAULT '-infinity',
    UNIQUE (shard, version)
) WITH (fillfactor = 50);
INSERT INTO ${schema}.shard_lease (shard) SELECT generate_series(0, 71);
-- Replicas that are alive, among whom the leases are spread.
CREATE TABLE ${schema}.member (
    instance    text PRIMARY KEY,
    expires_at  timestamptz NOT NULL
) WITH (fillfactor = 50);

-- The ledger: what was told to whom (REM-10). The id is made from duty, round, step, recipient and
-- channel, so telling somebody twice for one step violates the primary key, and the notices of a
-- duty are a range of it (obligation.h).
CREATE TABLE ${schema}.notification (
    tenant_id      uuid NOT NULL,
    id             uuid NOT NULL,
    obligation_id  uuid NOT NULL,
    rule           text NOT NULL,
    step_kind      text NOT NULL CHECK (step_kind IN ('warning', 'due', 'escalation', 'handover')),
    step           smallint NOT NULL,
    recipient_id   uuid NOT NULL,
    channel        text NOT NULL CHECK (channel IN ('in_app', 'http')),
    due_at         timestamptz NOT NULL,
    fired_at       timestamptz NOT NULL,
    late           boolean NOT NULL,
    state          text NOT NULL CHECK (state IN ('pending', 'delivered', 'failed', 'skipped')),
    delivered_at   timestamptz,
    read_at        timestamptz,
    attempts       int NOT NULL DEFAULT 0,
    last_result    text,
    text           text NOT NULL,
    PRIMARY KEY (tenant_id, id)
) WITH (fillfactor = 95);
-- Without the id, so that the notices of one firing share an entry.
CREATE INDEX notification_by_recipient ON ${schema}.notification (tenant_id, recipient_id, fired_at);

-- Where a person's (or, with the nil id, the company's) notices are posted. The secret is sealed.
CREATE TABLE ${schema}.channel (
    tenant_id   uuid NOT NULL,
    owner_id    uuid NOT NULL,
    url         text NOT NULL,
    secret      text NOT NULL,
    old_secret  text,        -- the one before; signs too
    old_until   timestamptz, -- up to here
    updated_at  timestamptz NOT NULL,
    updated_by  uuid,
    PRIMARY KEY (tenant_id, owner_id)
);

-- Notices still to be posted. Times are those of the database, since retries run in real time.
-- owner_id is the channel's when it was told; a lane's notices for one channel are a queue, of which
-- one is under way at a time.
CREATE TABLE ${schema}.outgoing (
    tenant_id     uuid NOT NULL,
    delivery_id   uuid NOT NULL,
    lane          smallint NOT NULL CHECK (lane BETWEEN 64 AND 71),
    owner_id      uuid NOT NULL,
    next_try_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, delivery_id)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);
CREATE INDEX outgoing_queue ON ${schema}.outgoing (lane, tenant_id, owner_id, next_try_at);

-- Version of a person's daily lists: raised in the transaction of everything that touches them, and
-- compared with that of the cached list by whoever serves it. Nothing here is indexed but the key:
-- those updates are HOT.
CREATE TABLE ${schema}.list_version (
    tenant_id    uuid NOT NULL,
    employee_id  uuid NOT NULL,
    version      bigint NOT NULL,
    PRIMARY KEY (tenant_id, employee_id)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);

-- Recalculations that a change of the rule book or calendar asks for (REM-09, F43), and duties to be
-- handed over with their customer (REM-18). The former are kept as record, the latter for a week.
CREATE TABLE ${schema}.recalculation (
    tenant_id     uuid NOT NULL,
    id            uuid NOT NULL, -- of the event
    policy_key    text NOT NULL, -- '' = the calendar, or none
    policy_value  text,
    unit_id       uuid,
    customer_id   uuid, -- a handover of that customer, from one owner to another
    from_id       uuid,
    to_id         uuid,
    reason        text NOT NULL,
    effective_us  bigint NOT NULL,
    asked_at      timestamptz NOT NULL,
    -- By the database's clock: before, a replica may still open duties by the rule book of before.
    start_at      timestamptz NOT NULL,
    revision      bigint NOT NULL DEFAULT 0, -- of the directory: by no snapshot of before
    overdue       boolean NOT NULL DEFAULT false, -- the pending ones are done, the overdue ones follow
    after_id      uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000', -- done so far
    changed       int NOT NULL DEFAULT 0,
    done_at       timestamptz,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX recalculation_open ON ${schema}.recalculation (tenant_id, effective_us, id)
    WHERE done_at IS NULL;
-- Those that duties being opened now are counted without.
CREATE INDEX recalculation_ahead ON ${schema}.recalculation (tenant_id, effective_us)
    WHERE customer_id IS NULL;
CREATE INDEX recalculation_newer ON ${schema}.recalculation (tenant_id, revision)
    WHERE customer_id IS NULL;
CREATE INDEX handover_open ON ${schema}.recalculation (tenant_id, customer_id) WHERE done_at IS NULL;
CREATE INDEX handover_by_age ON ${schema}.recalculation (tenant_id, done_at)
    WHERE customer_id IS NOT NULL;

-- Read models, made from events of customers and visits only.
CREATE TABLE ${schema}.customer_ref (
    tenant_id  uuid NOT NULL,
    id         uuid NOT NULL,
    name       text NOT NULL,
    owner_id   uuid,
    PRIMARY KEY (tenant_id, id)
);
-- Who owned a customer before, and up to when: for duties that become known after the hand-over.
CREATE TABLE ${schema}.former_owner (
    tenant_id    uuid NOT NULL,
    customer_id  uuid NOT NULL,
    owner_id     uuid NOT NULL,
    until_us     bigint NOT NULL,
    PRIMARY KEY (tenant_id, customer_id, owner_id)
);
CREATE TABLE ${schema}.visit_ref (
    tenant_id    uuid NOT NULL,
    id           uuid NOT NULL,
    visitor_id   uuid NOT NULL,
    customer_id  uuid,
    goal         text NOT NULL,
    starts_at    timestamptz NOT NULL,
    state        text NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX visit_ref_by_day ON ${schema}.visit_ref (tenant_id, visitor_id, starts_at);

-- Before the walls below: they bind the owner too.
-- Every statement of this daemon goes by index from a short list of keys, and must do so from the first
-- row on, long before the tables are analyzed. So the planner is told that a company is no selective
-- condition (by statistics of rows that are gone again), plans each call by the keys it really has and
-- the size the table has by then, and scans nothing.
INSERT INTO ${schema}.obligation (tenant_id, id, rule, subject, assignee_id, title, starts_at, due_at,
       known_us, state, plan, tells, row_version)
SELECT gen_random_uuid(), gen_random_uuid(), 'TMR-01', 'x/' || i, gen_random_uuid(), '', 'epoch', 'epoch',
       0, 'pending', '{0}', 'owner', 1
  FROM generate_series(1, 300) AS i;
INSERT INTO ${schema}.timer
SELECT gen_random_uuid(), gen_random_uuid(), i % 64, 0, i FROM generate_series(1, 300) AS i;
INSERT INTO ${schema}.tombstone (tenant_id, obligation_id, cancelled, closed_at)
SELECT gen_random_uuid(), gen_random_uuid(), false, 'epoch' FROM generate_series(1, 300);
INSERT INTO ${schema}.list_version (tenant_id, employee_id, version)
SELECT gen_random_uuid(), gen_random_uuid(), 1 FROM generate_series(1, 300);
DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['obligation', 'timer', 'timer_parked', 'tombstone', 'notification',
            'channel', 'outgoing', 'list_version', 'recalculation', 'customer_ref',
            'former_owner', 'visit_ref'] LOOP
        EXECUTE format('ALTER TABLE ${schema}.%I ALTER COLUMN tenant_id SET (n_distinct = 1)', t);
    END LOOP;
    FOREACH t IN ARRAY ARRAY['obligation', 'timer', 'tombstone', 'list_version'] LOOP
        EXECUTE format('ANALYZE ${schema}.%I', t);
        EXECUTE format('TRUNCATE ${schema}.%I', t);
    END LOOP;
END $$;

DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['obligation', 'timer', 'timer_parked', 'tombstone', 'notification',
            'channel', 'outgoing', 'list_version', 'recalculation', 'customer_ref',
            'former_owner', 'visit_ref'] LOOP
        EXECUTE format('ALTER TABLE ${schema}.%I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE ${schema}.%I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY tenant_wall ON ${schema}.%I USING (tenant_id = '
            '(SELECT nullif(current_setting(''daybook.tenant'', true), '''')::uuid))', t);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ${schema}.%I TO ${role}', t);
    END LOOP;
    -- Work lists hold ids and moments only. Without a tenant set, the daemon's own threads may look
    -- through them for what is due; whatever they do then, they do tenant by tenant.
    FOREACH t IN ARRAY ARRAY['timer', 'outgoing', 'recalculation'] LOOP
        EXECUTE format('CREATE POLICY look_for_work ON ${schema}.%I FOR SELECT USING '
            '((SELECT nullif(current_setting(''daybook.tenant'', true), '''') IS NULL))', t);
    END LOOP;
    GRANT SELECT, INSERT, UPDATE, DELETE ON ${schema}.shard_lease, ${schema}.member TO ${role};
END $$;

-- A firing of one timer costs less than planning its statements. With no other joins and scans than
-- these, a plan for the empty tables is the one for full ones, and lists are written for it.
ALTER ROLE ${role} SET plan_cache_mode = force_generic_plan;
ALTER ROLE ${role} SET enable_seqscan = off;
ALTER ROLE ${role} SET enable_hashjoin = off;
ALTER ROLE ${role} SET enable_mergejoin = off;
-- A scan that there is no way around (a list of two replicas) then looks dear enough to be compiled.
ALTER ROLE ${role} SET jit = off;
