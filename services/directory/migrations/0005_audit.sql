-- The audit trail (SEC-10): made from the events of the log by the directory's consumer. It is no read
-- model: a rebuild leaves it as it is. The daemon may add and read, and nobody but the owner can do
-- more; what the owner does to it, the hashes show.
CREATE TABLE ${schema}.audit_entry (
    tenant_id          uuid NOT NULL,
    number             bigint NOT NULL CHECK (number > 0), -- place in the chain, without holes
    seq                bigint NOT NULL,
    event_id           uuid NOT NULL,
    occurred_at        timestamptz NOT NULL,
    actor_id           uuid, -- NULL: a daemon by itself
    request_id         text,
    method             text,
    remote_address     text,
    type               text NOT NULL,
    aggregate          text,
    aggregate_version  bigint NOT NULL,
    outcome            text NOT NULL CHECK (outcome IN ('changed', 'read', 'refused')),
    reason             text,
    rows               bigint NOT NULL,
    fields             text, -- names, parted by commas
    unwritten          bigint NOT NULL,
    hash               bytea NOT NULL CHECK (length(hash) = 32),
    CONSTRAINT audit_entry_pkey PRIMARY KEY (tenant_id, number)
) WITH (fillfactor = 100, autovacuum_vacuum_insert_scale_factor = 0.05);
CREATE INDEX audit_entry_by_actor ON ${schema}.audit_entry (tenant_id, actor_id, number);
CREATE INDEX audit_entry_by_aggregate ON ${schema}.audit_entry (tenant_id, aggregate, number);
CREATE INDEX audit_entry_by_time ON ${schema}.audit_entry USING brin (occurred_at);

-- The newest entry of each company: what the next one is chained to.
CREATE TABLE ${schema}.audit_head (
    tenant_id  uuid PRIMARY KEY,
    number     bigint NOT NULL,
    hash       bytea NOT NULL CHECK (length(hash) = 32)
) WITH (fillfactor = 50);

GRANT SELECT, INSERT ON ${schema}.audit_entry TO ${role};
GRANT SELECT, INSERT, UPDATE ON ${schema}.audit_head TO ${role};
DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['audit_entry', 'audit_head'] LOOP
        EXECUTE format('ALTER TABLE ${schema}.%I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE ${schema}.%I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY tenant_wall ON ${schema}.%I USING (tenant_id = '
                       '(SELECT nullif(current_setting(''daybook.tenant'', true), '''')::uuid))', t);
    END LOOP;
END
$$;
