-- The company's settings of the model, in the order of the log. The directory's snapshot is not used
-- for them: it is a moment ahead or behind, and a rebuild would then count with other numbers than
-- the live run did.
CREATE TABLE ${schema}.policy (
    tenant_id       uuid NOT NULL,
    key             text NOT NULL,
    effective_from  timestamptz NOT NULL,
    value           text NOT NULL,
    PRIMARY KEY (tenant_id, key, effective_from)
);
ALTER TABLE ${schema}.policy ENABLE ROW LEVEL SECURITY;
ALTER TABLE ${schema}.policy FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON ${schema}.policy USING (tenant_id =
    (SELECT nullif(current_setting('daybook.tenant', true), '')::uuid));
GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON ${schema}.policy TO ${role};
