-- Customer files, contacts, interactions with their questions, orders and payments (CUS, INT, DEAL).
CREATE TABLE ${schema}.customer (
    tenant_id         uuid NOT NULL,
    id                uuid NOT NULL,
    ref_source        text,
    ref_id            text,
    name              text NOT NULL,
    name_key          text NOT NULL, -- normalised, for duplicates (CUS-07)
    relation_type     text NOT NULL,
    key_account       boolean NOT NULL,
    owner_id          uuid NOT NULL,
    source            text,
    industry          text NOT NULL,
    company_size      text,
    address           text NOT NULL,
    latitude          float8,
    longitude         float8,
    city_code         text NOT NULL,
    credit_code       text NOT NULL,
    status            text NOT NULL,
    potential_rating  int NOT NULL CHECK (potential_rating BETWEEN 0 AND 100),
    last_contact_at   timestamptz,
    open_questions    int NOT NULL DEFAULT 0 CHECK (open_questions >= 0),
    created_at        timestamptz NOT NULL,
    row_version       bigint NOT NULL,
    PRIMARY KEY (tenant_id, id)
) WITH (fillfactor = 85); -- last_contact_at and open_questions change often and stay on their page
CREATE UNIQUE INDEX customer_ref ON ${schema}.customer (tenant_id, ref_source, ref_id)
    WHERE ref_id IS NOT NULL;
CREATE INDEX customer_name_key ON ${schema}.customer (tenant_id, name_key, city_code);
CREATE INDEX customer_credit_code ON ${schema}.customer (tenant_id, credit_code)
    WHERE credit_code <> '';
CREATE INDEX customer_by_name ON ${schema}.customer (tenant_id, name, id);
CREATE INDEX customer_by_owner ON ${schema}.customer (tenant_id, owner_id, name, id);

CREATE TABLE ${schema}.contact (
    tenant_id      uuid NOT NULL,
    id             uuid NOT NULL,
    customer_id    uuid NOT NULL,
    name           text NOT NULL,
    position       text NOT NULL,
    decision_role  text NOT NULL,
    phone_sealed   text NOT NULL, -- XChaCha20-Poly1305, see common/secret.h
    phone_masked   text NOT NULL,
    phone_index    text,          -- keyed hash, finds the same number again
    email_sealed   text NOT NULL,
    email_masked   text NOT NULL,
    birthday       text NOT NULL,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, customer_id) REFERENCES ${schema}.customer (tenant_id, id)
);
CREATE INDEX contact_by_customer ON ${schema}.contact (tenant_id, customer_id);
CREATE INDEX contact_phone ON ${schema}.contact (tenant_id, phone_index) WHERE phone_index IS NOT NULL;

CREATE TABLE ${schema}.interaction (
    tenant_id        uuid NOT NULL,
    id               uuid NOT NULL,
    customer_id      uuid NOT NULL,
    contact_id       uuid,
    employee_id      uuid NOT NULL,
    unit_id          uuid, -- whose rules count the time: that of the event of the duty (CON-10)
    visit_id         uuid, -- it was an on-site visit, which has its own clocks (CON-10)
    channel          text NOT NULL,
    direction        text,
    ended_at         timestamptz NOT NULL,
    content          text NOT NULL DEFAULT '',
    needs            text NOT NULL DEFAULT '',
    result           text NOT NULL DEFAULT '',
    next_step        text NOT NULL DEFAULT '',
    next_contact_at  timestamptz,
    satisfaction     int NOT NULL DEFAULT 0 CHECK (satisfaction BETWEEN 0 AND 5),
    state            text NOT NULL CHECK (state IN ('ended', 'recorded')),
    recorded_at      timestamptz,
    late             boolean NOT NULL DEFAULT false,
    ref_source       text,
    ref_id           text,
    row_version      bigint NOT NULL,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, customer_id) REFERENCES ${schema}.customer (tenant_id, id)
);
CREATE UNIQUE INDEX interaction_ref ON ${schema}.interaction (tenant_id, ref_source, ref_id)
    WHERE ref_id IS NOT NULL;
CREATE INDEX interaction_by_customer ON ${schema}.interaction (tenant_id, customer_id, ended_at DESC, id);

CREATE TABLE ${schema}.question (
    tenant_id                uuid NOT NULL,
    id                       uuid NOT NULL,
    customer_id              uuid NOT NULL,
    interaction_id           uuid NOT NULL,
    text                     text NOT NULL,
    asked_at                 timestamptz NOT NULL,
    assignee_id              uuid NOT NULL,
    unit_id                  uuid, -- as of interaction
    state                    text NOT NULL CHECK (state IN ('open', 'preliminary_answered', 'answered')),
    preliminary_answered_at  timestamptz,
    preliminary_answer       text NOT NULL DEFAULT '',
    final_promised_at        timestamptz,
    answered_at              timestamptz,
    answer                   text NOT NULL DEFAULT '',
    late                     boolean NOT NULL DEFAULT false,
    row_version              bigint NOT NULL,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, interaction_id) REFERENCES ${schema}.interaction (tenant_id, id)
);
CREATE INDEX question_by_interaction ON ${schema}.question (tenant_id, interaction_id);
CREATE INDEX question_by_customer ON ${schema}.question (tenant_id, customer_id, asked_at DESC);

CREATE TABLE ${schema}.sales_order (
    tenant_id      uuid NOT NULL,
    id             uuid NOT NULL,
    customer_id    uuid NOT NULL,
    ref_source     text,
    ref_id         text,
    kind           text NOT NULL CHECK (kind IN ('order', 'cancellation')),
    ordered_at     timestamptz NOT NULL,
    amount_minor   bigint NOT NULL CHECK (amount_minor <> 0 AND (kind = 'order') = (amount_minor > 0)),
    currency_code  text NOT NULL,
    cancels_order_id  uuid CHECK (cancels_order_id IS NULL OR kind = 'cancellation'),
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, customer_id) REFERENCES ${schema}.customer (tenant_id, id),
    FOREIGN KEY (tenant_id, cancels_order_id) REFERENCES ${schema}.sales_order (tenant_id, id)
);
CREATE UNIQUE INDEX sales_order_ref ON ${schema}.sales_order (tenant_id, ref_source, ref_id)
    WHERE ref_id IS NOT NULL;
CREATE INDEX sales_order_by_customer ON ${schema}.sales_order (tenant_id, customer_id, ordered_at DESC);

CREATE TABLE ${schema}.payment (
    tenant_id      uuid NOT NULL,
    id             uuid NOT NULL,
    customer_id    uuid NOT NULL,
    ref_source     text,
    ref_id         text,
    paid_at        timestamptz NOT NULL,
    amount_minor   bigint NOT NULL CHECK (amount_minor > 0),
    currency_code  text NOT NULL,
    order_id       uuid,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, customer_id) REFERENCES ${schema}.customer (tenant_id, id),
    FOREIGN KEY (tenant_id, order_id) REFERENCES ${schema}.sales_order (tenant_id, id)
);
CREATE UNIQUE INDEX payment_ref ON ${schema}.payment (tenant_id, ref_source, ref_id)
    WHERE ref_id IS NOT NULL;
CREATE INDEX payment_by_customer ON ${schema}.payment (tenant_id, customer_id, paid_at DESC);

-- Read models, from events of other daemons only.
CREATE TABLE ${schema}.customer_tier (
    tenant_id    uuid NOT NULL,
    customer_id  uuid NOT NULL,
    tier         text NOT NULL,
    PRIMARY KEY (tenant_id, customer_id)
);
CREATE TABLE ${schema}.foreign_event (
    tenant_id    uuid NOT NULL,
    customer_id  uuid NOT NULL,
    happened_at  timestamptz NOT NULL,
    event_id     uuid NOT NULL,
    kind         text NOT NULL CHECK (kind IN ('visit', 'tier')),
    subject      text NOT NULL,
    summary      text NOT NULL,
    actor_id     uuid,
    visitor_id   uuid,        -- of visits, as are the next three: who goes,
    visit_mode   text,        -- how,
    began_at     timestamptz, -- and from when to when he was there, as far as known by then (CON-10)
    ended_at     timestamptz,
    PRIMARY KEY (tenant_id, customer_id, happened_at, event_id)
);

DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['customer', 'contact', 'interaction', 'question', 'sales_order',
                             'payment', 'customer_tier', 'foreign_event'] LOOP
        EXECUTE format('ALTER TABLE ${schema}.%I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE ${schema}.%I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY tenant ON ${schema}.%I USING (tenant_id = '
            '(SELECT nullif(current_setting(''daybook.tenant'', true), '''')::uuid))', t);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ${schema}.%I TO ${role}', t);
    END LOOP;
END $$;
