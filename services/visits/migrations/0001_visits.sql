-- Visits, commitments, and what visits must know of customers (VIS-01 to VIS-58).
CREATE EXTENSION IF NOT EXISTS btree_gist;

CREATE TABLE ${schema}.visit (
    tenant_id       uuid NOT NULL,
    id              uuid NOT NULL,
    customer_id     uuid NOT NULL,
    contact_id      uuid,
    visitor_id      uuid NOT NULL,
    purposes        text[] NOT NULL,
    mode            text NOT NULL CHECK (mode IN ('in_person', 'phone', 'video')),
    starts_at       timestamptz NOT NULL,
    ends_at         timestamptz NOT NULL CHECK (ends_at > starts_at),
    place           text NOT NULL,
    goal            text NOT NULL,
    state           text NOT NULL CHECK (state IN ('requested', 'approved', 'rejected', 'cancelled',
                        'checked_in', 'ended', 'reported', 'returned', 'closed')),
    unregistered    boolean NOT NULL DEFAULT false,
    late_arrival    boolean NOT NULL DEFAULT false,
    checkin_at          timestamptz,
    checkin_device_at   timestamptz,
    checkin_latitude    float8,
    checkin_longitude   float8,
    checkin_accuracy_m  float8,
    checkin_distance_m  float8,
    checkin_far         boolean,
    checked_out_at  timestamptz,
    unit_id         uuid, -- whose rules count the time of the report: the visitor's when it ended (CON-10)
    report          jsonb,
    reviewed_by     uuid,
    review_comment  text,
    row_version     bigint NOT NULL,
    PRIMARY KEY (tenant_id, id),
    -- One person is at one place at a time. Two who ask for the same slot at once: one loses.
    CONSTRAINT visit_slot EXCLUDE USING gist (tenant_id WITH =, visitor_id WITH =,
        tstzrange(starts_at, ends_at) WITH &&) WHERE (state IN ('requested', 'approved'))
);
CREATE INDEX visit_by_start ON ${schema}.visit (tenant_id, starts_at, id);
CREATE INDEX visit_by_visitor ON ${schema}.visit (tenant_id, visitor_id, starts_at);
CREATE INDEX visit_by_customer ON ${schema}.visit (tenant_id, customer_id, starts_at);

CREATE TABLE ${schema}.commitment (
    tenant_id     uuid NOT NULL,
    id            uuid NOT NULL,
    customer_id   uuid NOT NULL,
    visit_id      uuid,
    source        text,
    text          text NOT NULL,
    owner_id      uuid NOT NULL,
    unit_id       uuid, -- whose rules count the time: the owner's when it was made (CON-10)
    promised_at   timestamptz NOT NULL,
    due_at        timestamptz NOT NULL,
    undated       boolean NOT NULL,
    state         text NOT NULL CHECK (state IN ('open', 'fulfilled', 'fulfilled_late', 'cancelled')),
    fulfilled_at  timestamptz,
    result        text,
    broken        boolean NOT NULL DEFAULT false,
    row_version   bigint NOT NULL,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, visit_id) REFERENCES ${schema}.visit (tenant_id, id)
);
CREATE INDEX commitment_by_due ON ${schema}.commitment (tenant_id, due_at, id);
CREATE INDEX commitment_by_owner ON ${schema}.commitment (tenant_id, owner_id, due_at);
CREATE INDEX commitment_by_visit ON ${schema}.commitment (tenant_id, visit_id) WHERE visit_id IS NOT NULL;

-- Read model, made from events of customers and scoring only.
CREATE TABLE ${schema}.customer (
    tenant_id   uuid NOT NULL,
    id          uuid NOT NULL,
    name        text NOT NULL,
    owner_id    uuid,
    address     text,
    latitude    float8,
    longitude   float8,
    tier        text,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX customer_by_owner ON ${schema}.customer (tenant_id, owner_id);

-- Read model, made from events of customers only.
CREATE TABLE ${schema}.contact (
    tenant_id    uuid NOT NULL,
    id           uuid NOT NULL,
    customer_id  uuid NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['visit', 'commitment', 'customer', 'contact'] LOOP
        EXECUTE format('ALTER TABLE ${schema}.%I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE ${schema}.%I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY tenant ON ${schema}.%I USING (tenant_id = '
            '(SELECT nullif(current_setting(''daybook.tenant'', true), '''')::uuid))', t);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ${schema}.%I TO ${role}', t);
    END LOOP;
END $$;
