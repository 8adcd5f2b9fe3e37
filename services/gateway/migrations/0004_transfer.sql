-- Files in and out (protocols H.6, CUS-31, SEC-01): imports, exports, and the bytes of their files.

CREATE TABLE ${schema}.import (
    tenant_id         uuid NOT NULL,
    id                uuid NOT NULL,
    collection        text NOT NULL,
    format            text NOT NULL CHECK (format IN ('csv', 'jsonl')),
    source            text NOT NULL,
    dry_run           boolean NOT NULL,
    update_owner      boolean NOT NULL,
    state             text NOT NULL CHECK (state IN ('pending', 'running', 'done', 'failed', 'cancelled')),
    cancel_requested  boolean NOT NULL DEFAULT false,
    batches           bigint NOT NULL DEFAULT 0, -- that are through: where it goes on after a restart
    rows              bigint NOT NULL DEFAULT 0,
    inserted          bigint NOT NULL DEFAULT 0,
    updated           bigint NOT NULL DEFAULT 0,
    unchanged         bigint NOT NULL DEFAULT 0,
    duplicates        bigint NOT NULL DEFAULT 0,
    invalid           bigint NOT NULL DEFAULT 0,
    file_bytes        bigint NOT NULL,
    file_sha256       text NOT NULL,             -- hex
    result_bytes      bigint NOT NULL DEFAULT 0,
    result_sha256     text NOT NULL DEFAULT '',  -- hex, once it has ended
    principal         bytea NOT NULL,            -- daybook.common.v1.Principal: on whose behalf
    credential_id     uuid,                      -- the API key, which must go on to be good
    idempotency_key   text NOT NULL,
    created_by        uuid NOT NULL,
    remote_address    text NOT NULL DEFAULT '',  -- whence, for the audit trail (SEC-10)
    created_at        timestamptz NOT NULL,
    finished_at       timestamptz,
    expires_at        timestamptz NOT NULL,
    error_code        int,
    error_message     text,
    row_version       bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (tenant_id, id)
) WITH (fillfactor = 50);
CREATE UNIQUE INDEX import_key ON ${schema}.import (tenant_id, created_by, idempotency_key)
    WHERE idempotency_key <> '';

CREATE TABLE ${schema}.export (
    tenant_id         uuid NOT NULL,
    id                uuid NOT NULL,
    collection        text NOT NULL,
    format            text NOT NULL CHECK (format IN ('csv', 'jsonl')),
    owner_id          uuid,
    tier              int NOT NULL DEFAULT 0,
    fields            text[] NOT NULL,
    reason            text NOT NULL,
    state             text NOT NULL CHECK (state IN ('awaiting_approval', 'pending', 'running', 'done', 'failed',
                                                     'cancelled')),
    approved_by       uuid,
    approved_at       timestamptz,
    cancel_requested  boolean NOT NULL DEFAULT false,
    pages             bigint NOT NULL DEFAULT 0, -- that are in the file: where it goes on after a restart
    page_token        text NOT NULL DEFAULT '',
    rows              bigint NOT NULL DEFAULT 0,
    file_bytes        bigint NOT NULL DEFAULT 0,
    file_sha256       text NOT NULL DEFAULT '',  -- hex, once it has ended
    principal         bytea NOT NULL,
    created_by        uuid NOT NULL,
    remote_address    text NOT NULL DEFAULT '',  -- whence, for the audit trail (SEC-10)
    created_at        timestamptz NOT NULL,
    finished_at       timestamptz,
    expires_at        timestamptz NOT NULL,
    error_code        int,
    error_message     text,
    row_version       bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (tenant_id, id)
) WITH (fillfactor = 50);

-- The bytes of a file: the piece that begins at an offset.
CREATE TABLE ${schema}.transfer_chunk (
    tenant_id    uuid NOT NULL,
    transfer_id  uuid NOT NULL,
    kind         text NOT NULL CHECK (kind IN ('upload', 'result', 'file')),
    at           bigint NOT NULL,
    bytes        bytea NOT NULL,
    PRIMARY KEY (tenant_id, transfer_id, kind, at)
);
-- Written once, read once or twice: packing them would cost more than it spares.
ALTER TABLE ${schema}.transfer_chunk ALTER COLUMN bytes SET STORAGE EXTERNAL;

-- What is under way or waits. Whoever has claimed a row raises its version and owns the work until
-- claimed_until, which he moves on; who writes proves that the version is still his. A dead row stays
-- until the pieces that nobody needs any more are deleted.
CREATE TABLE ${schema}.transfer_work (
    tenant_id      uuid NOT NULL,
    transfer_id    uuid NOT NULL,
    kind           text NOT NULL CHECK (kind IN ('upload', 'import', 'export', 'dead')),
    version        bigint NOT NULL DEFAULT 0,
    claimed_until  timestamptz NOT NULL DEFAULT '-infinity',
    attempts       int NOT NULL DEFAULT 0,       -- claims since it last came on
    waits_since    timestamptz NOT NULL DEFAULT clock_timestamp(), -- or since the company was served
    PRIMARY KEY (tenant_id, transfer_id)
) WITH (fillfactor = 50);

DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['import', 'export', 'transfer_chunk', 'transfer_work'] LOOP
        EXECUTE format('ALTER TABLE ${schema}.%I ALTER COLUMN tenant_id SET (n_distinct = 1)', t);
        EXECUTE format('ALTER TABLE ${schema}.%I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE ${schema}.%I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY tenant_wall ON ${schema}.%I USING (tenant_id = '
            '(SELECT nullif(current_setting(''daybook.tenant'', true), '''')::uuid))', t);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ${schema}.%I TO ${role}', t);
    END LOOP;
    -- The work list holds ids and moments only: without a tenant set it may be looked through.
    CREATE POLICY look_for_work ON ${schema}.transfer_work FOR SELECT
        USING ((SELECT nullif(current_setting('daybook.tenant', true), '') IS NULL));
END $$;
