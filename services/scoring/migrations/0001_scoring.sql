-- Facts of buying, scores and tiers (SCO-02 to SCO-06). All of it is made from events, in the order
-- of the log, so a rebuild ends in the same rows.
CREATE TABLE ${schema}.customer (
    tenant_id         uuid NOT NULL,
    id                uuid NOT NULL,
    owner_id          uuid,
    potential_rating  int NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX customer_by_owner ON ${schema}.customer (tenant_id, owner_id);

CREATE TABLE ${schema}.order_fact (
    tenant_id     uuid NOT NULL,
    customer_id   uuid NOT NULL,
    id            uuid NOT NULL,
    ordered_at    timestamptz NOT NULL,
    kind          text NOT NULL CHECK (kind IN ('order', 'cancellation')),
    amount_minor  bigint NOT NULL,
    order_id      uuid NOT NULL, -- itself; of a cancellation the order that it names, if it does
    PRIMARY KEY (tenant_id, customer_id, id)
);
CREATE INDEX order_fact_by_time ON ${schema}.order_fact (tenant_id, customer_id, ordered_at)
    INCLUDE (kind, amount_minor, order_id);

CREATE TABLE ${schema}.score (
    tenant_id       uuid NOT NULL,
    customer_id     uuid NOT NULL,
    value_score     float8 NOT NULL,
    tier            text NOT NULL,
    raw_tier        text NOT NULL,
    parts           jsonb NOT NULL,
    reasons         text[] NOT NULL,
    orders_12m      int NOT NULL,
    amount_minor    bigint NOT NULL,
    currency_code   text NOT NULL,
    recency_days    int NOT NULL,
    last_order_at   timestamptz,
    scored_at       timestamptz NOT NULL,
    tier_since      timestamptz NOT NULL,
    tier_version    bigint NOT NULL,
    policies        jsonb NOT NULL,
    PRIMARY KEY (tenant_id, customer_id)
);
CREATE INDEX score_by_value ON ${schema}.score (tenant_id, value_score DESC, customer_id);

CREATE TABLE ${schema}.tier_change (
    tenant_id     uuid NOT NULL,
    customer_id   uuid NOT NULL,
    tier_version  bigint NOT NULL,
    old_tier      text,
    new_tier      text NOT NULL,
    changed_at    timestamptz NOT NULL,
    value_score   float8 NOT NULL,
    reasons       text[] NOT NULL,
    PRIMARY KEY (tenant_id, customer_id, tier_version)
);

DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['customer', 'order_fact', 'score', 'tier_change'] LOOP
        EXECUTE format('ALTER TABLE ${schema}.%I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE ${schema}.%I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY tenant ON ${schema}.%I USING (tenant_id = '
            '(SELECT nullif(current_setting(''daybook.tenant'', true), '''')::uuid))', t);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON ${schema}.%I TO ${role}', t);
    END LOOP;
END $$;
