-- Companies, units, employees (ORG-01 to ORG-03), rule book (GOV-01), working calendar (ORG-12),
-- credentials; and the views of them that every daemon may read.
CREATE TABLE ${schema}.tenant (
    tenant_id      uuid PRIMARY KEY,
    name           text NOT NULL,
    time_zone      text NOT NULL,
    currency_code  text NOT NULL,
    row_version    bigint NOT NULL
);

CREATE TABLE ${schema}.unit (
    tenant_id    uuid NOT NULL,
    id           uuid NOT NULL,
    code         text COLLATE "C" NOT NULL,
    name         text NOT NULL,
    parent_id    uuid,
    city_code    text NOT NULL,
    row_version  bigint NOT NULL,
    CONSTRAINT unit_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT unit_code UNIQUE (tenant_id, code),
    CONSTRAINT unit_tenant FOREIGN KEY (tenant_id) REFERENCES ${schema}.tenant,
    CONSTRAINT unit_parent FOREIGN KEY (tenant_id, parent_id) REFERENCES ${schema}.unit (tenant_id, id),
    CONSTRAINT unit_own_parent CHECK (parent_id <> id) -- an insert may point at itself
);
CREATE INDEX unit_by_parent ON ${schema}.unit (tenant_id, parent_id);

CREATE TABLE ${schema}.employee (
    tenant_id       uuid NOT NULL,
    id              uuid NOT NULL,
    employee_no     text COLLATE "C" NOT NULL,
    name            text NOT NULL,
    unit_id         uuid NOT NULL,
    roles           text[] NOT NULL CHECK (cardinality(roles) BETWEEN 1 AND 8),
    superior_id     uuid,
    home_city_code  text NOT NULL,
    active          boolean NOT NULL,
    row_version     bigint NOT NULL,
    CONSTRAINT employee_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT employee_number UNIQUE (tenant_id, employee_no),
    CONSTRAINT employee_unit FOREIGN KEY (tenant_id, unit_id) REFERENCES ${schema}.unit (tenant_id, id),
    CONSTRAINT employee_superior FOREIGN KEY (tenant_id, superior_id)
        REFERENCES ${schema}.employee (tenant_id, id),
    CONSTRAINT employee_own_superior CHECK (superior_id <> id)
);
CREATE INDEX employee_by_superior ON ${schema}.employee (tenant_id, superior_id);
CREATE INDEX employee_by_unit ON ${schema}.employee (tenant_id, unit_id, employee_no);

-- One row a key that was ever set. Its lock orders the settings of a key, its version numbers them.
CREATE TABLE ${schema}.policy_key (
    tenant_id  uuid NOT NULL,
    key        text NOT NULL,
    version    bigint NOT NULL,
    CONSTRAINT policy_key_pkey PRIMARY KEY (tenant_id, key),
    CONSTRAINT policy_key_tenant FOREIGN KEY (tenant_id) REFERENCES ${schema}.tenant
);
-- Never changed: a new value is a new row, so that every effect can name the setting it used.
CREATE TABLE ${schema}.policy_setting (
    tenant_id       uuid NOT NULL,
    key             text NOT NULL,
    version         bigint NOT NULL,
    unit_id         uuid, -- NULL: the company
    value           text NOT NULL,
    effective_from  timestamptz NOT NULL,
    set_by          uuid NOT NULL,
    set_at          timestamptz NOT NULL,
    reason          text NOT NULL,
    CONSTRAINT policy_setting_pkey PRIMARY KEY (tenant_id, key, version),
    CONSTRAINT policy_setting_unit FOREIGN KEY (tenant_id, unit_id)
        REFERENCES ${schema}.unit (tenant_id, id)
);

-- A year whose exceptions were imported, even when it has none.
CREATE TABLE ${schema}.calendar_year (
    tenant_id  uuid NOT NULL,
    year       int NOT NULL,
    version    bigint NOT NULL,
    CONSTRAINT calendar_year_pkey PRIMARY KEY (tenant_id, year),
    CONSTRAINT calendar_year_tenant FOREIGN KEY (tenant_id) REFERENCES ${schema}.tenant
);
-- `year` is that of the notice: it may fix days of the December before.
CREATE TABLE ${schema}.calendar_day (
    tenant_id   uuid NOT NULL,
    year        int NOT NULL,
    date        date NOT NULL,
    name        text NOT NULL,
    is_off_day  boolean NOT NULL,
    CONSTRAINT calendar_day_pkey PRIMARY KEY (tenant_id, year, date)
);

CREATE TABLE ${schema}.credential (
    tenant_id         uuid NOT NULL,
    id                uuid NOT NULL,
    kind              text NOT NULL CHECK (kind IN ('api_key', 'curve')),
    actor_id          uuid NOT NULL,
    is_employee       boolean NOT NULL, -- else actor_id names a service account
    label             text NOT NULL,
    scopes            text[] NOT NULL,
    curve_public_key  text,
    secret_hash       text, -- keyed BLAKE2b of an API key's secret; the secret is nowhere
    created_at        timestamptz NOT NULL,
    expires_at        timestamptz,
    revoked_at        timestamptz,
    row_version       bigint NOT NULL,
    CONSTRAINT credential_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT credential_tenant FOREIGN KEY (tenant_id) REFERENCES ${schema}.tenant,
    CONSTRAINT credential_proof CHECK ((kind = 'curve') = (curve_public_key IS NOT NULL)
                                       AND (kind = 'api_key') = (secret_hash IS NOT NULL))
);
-- The one unique key that does not begin with the tenant: a CURVE key decides the tenant, so it may
-- stand for one actor of one company only.
CREATE UNIQUE INDEX credential_curve_key ON ${schema}.credential (curve_public_key)
    WHERE revoked_at IS NULL;
CREATE INDEX credential_by_actor ON ${schema}.credential (tenant_id, actor_id, id);

-- Rises with every command of the directory, as the last statement of its transaction; so only
-- writes of the directory wait for each other here, and not for long. A snapshot of revision n holds
-- what was committed up to n. It is no tenant's.
CREATE TABLE ${schema}.revision (
    only_row  boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    revision  bigint NOT NULL
);
INSERT INTO ${schema}.revision (revision) VALUES (1);
GRANT SELECT, UPDATE ON ${schema}.revision TO ${role};

-- Row level security without FORCE: the daemon's role is not the owner and is held by it, but the
-- views below belong to the owner and must see the rows of all companies.
DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['tenant', 'unit', 'employee', 'policy_key', 'policy_setting',
                             'calendar_year', 'calendar_day', 'credential'] LOOP
        EXECUTE format('ALTER TABLE ${schema}.%I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY tenant_wall ON ${schema}.%I USING (tenant_id = '
            '(SELECT nullif(current_setting(''daybook.tenant'', true), '''')::uuid))', t);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ${schema}.%I TO ${role}', t);
    END LOOP;
END $$;

-- What every daemon may read (architecture 3): through these views and nothing else, with
-- security_invoker off (the default), so that they read as their owner and pass the walls above.
-- They hold no secret: no hash of an API key, and of credentials only the admitted CURVE keys.
CREATE SCHEMA directory_api;
CREATE VIEW directory_api.revision AS
    SELECT revision FROM ${schema}.revision;
CREATE VIEW directory_api.tenant AS
    SELECT tenant_id, name, time_zone, currency_code FROM ${schema}.tenant;
CREATE VIEW directory_api.unit AS
    SELECT tenant_id, id, parent_id, code, name, city_code FROM ${schema}.unit;
CREATE VIEW directory_api.employee AS
    SELECT tenant_id, id, unit_id, superior_id, employee_no, name, roles, home_city_code, active
      FROM ${schema}.employee;
CREATE VIEW directory_api.policy_setting AS
    SELECT tenant_id, key, version, unit_id, value, effective_from FROM ${schema}.policy_setting;
CREATE VIEW directory_api.calendar_year AS
    SELECT tenant_id, year FROM ${schema}.calendar_year;
CREATE VIEW directory_api.calendar_day AS
    SELECT tenant_id, year, date, name, is_off_day FROM ${schema}.calendar_day;
-- An employee who has left is admitted no longer, whatever keys he had.
CREATE VIEW directory_api.bus_key AS
    SELECT c.tenant_id, c.id AS credential_id, c.actor_id, c.is_employee, c.scopes,
           c.curve_public_key AS public_key, c.expires_at
      FROM ${schema}.credential c
     WHERE c.kind = 'curve' AND c.revoked_at IS NULL
       AND (NOT c.is_employee OR EXISTS (SELECT FROM ${schema}.employee e
                                          WHERE e.tenant_id = c.tenant_id AND e.id = c.actor_id
                                            AND e.active));
GRANT USAGE ON SCHEMA directory_api TO daybook_daemon;
GRANT SELECT ON ALL TABLES IN SCHEMA directory_api TO daybook_daemon;
