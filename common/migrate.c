/*
 * migrate.c - brings a schema to the version that the program knows.
 *
 * A migration and its row in schema_version are one transaction, and the row comes first: of two
 * migrators at the same one, the second waits for the lock, then runs into the first one's row and
 * looks again. One killed half-way leaves nothing. All migrators of a database share one advisory
 * lock, since roles and extensions are not any schema's own.
 */
#include "common/migrate.h"

#include <ctype.h>
#include <poll.h>
#include <sodium.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/num.h"
#include "common/sbuf.h"
#include "common/sql.h"

#define LOCK_KEY "4847613905217" /* of all migrators in a database; has no meaning */
#define SCRIPT_MAX_BYTES (4 * MIB)
#define SCRIPT_LIMIT_US (15 * MINUTE_US) /* one migration */
#define RUN_LIMIT_US (30 * MINUTE_US)    /* all, with retries */
#define RETRY_DELAY_MS 300               /* at least; twice that on average */
#define SCHEMA_NAME_MAX 40

/*
 * Who waits for a table holds up all who come after him, and perhaps holds another table. So a migration gives up
 * soon and comes again after a longer while: what it stands before goes on in between, even with two migrators
 * (F55). An autovacuum makes way only for who waits longer than deadlock_timeout, and one against wraparound not
 * even then: now and then one try waits that long. Two migrators do not do so at the same time, but by chance.
 */
#define LONG_EVERY 8
static const char wait_short[] = "SET LOCAL lock_timeout = '200ms';\n";
static const char wait_long[] =
    "SELECT set_config('lock_timeout', least(1800, 200 +"
    " 1000 * extract(epoch FROM current_setting('deadlock_timeout')::interval))::int || 'ms', "
    "true);\n";

/* ${schema} and ${role} are replaced in these as in migrations. How long it waits for locks follows. */
static const char begin_sql[] = "BEGIN;\n"
                                "SET LOCAL lock_timeout = '2s';\n"
                                "SET LOCAL statement_timeout = '10min';\n"
                                "SELECT pg_advisory_xact_lock(" LOCK_KEY ");\n";

/* Roles belong to the cluster: a migrator of another database may make the same one meanwhile. */
static const char prepare_sql[] =
    "DO $do$\n"
    "BEGIN\n"
    "    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'daybook_daemon') THEN\n"
    "        CREATE ROLE daybook_daemon NOLOGIN;\n"
    "    END IF;\n"
    "EXCEPTION WHEN duplicate_object OR unique_violation THEN\n"
    "END $do$;\n"
    "DO $do$\n"
    "BEGIN\n"
    "    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '${role}') THEN\n"
    "        CREATE ROLE ${role} LOGIN;\n"
    "    END IF;\n"
    "EXCEPTION WHEN duplicate_object OR unique_violation THEN\n"
    "END $do$;\n"
    /* Settings of the role hold through every pooler. An operator's own are left alone. */
    "DO $do$\n"
    "DECLARE has text := coalesce((SELECT array_to_string(rolconfig, ' ') FROM pg_roles\n"
    "                              WHERE rolname = '${role}'), '');\n"
    "BEGIN\n"
    "    IF NOT pg_has_role('${role}', 'daybook_daemon', 'MEMBER') THEN\n"
    "        GRANT daybook_daemon TO ${role};\n"
    "    END IF;\n"
    "    IF strpos(has, 'statement_timeout=') = 0 THEN\n"
    "        ALTER ROLE ${role} SET statement_timeout = '5s';\n"
    "    END IF;\n"
    "    IF strpos(has, 'lock_timeout=') = 0 THEN\n"
    "        ALTER ROLE ${role} SET lock_timeout = '2s';\n"
    "    END IF;\n"
    "    IF strpos(has, 'idle_in_transaction_session_timeout=') = 0 THEN\n"
    "        ALTER ROLE ${role} SET idle_in_transaction_session_timeout = '10s';\n"
    "    END IF;\n"
    "    IF strpos(has, 'TimeZone=') = 0 THEN\n"
    "        ALTER ROLE ${role} SET timezone = 'UTC';\n"
    "    END IF;\n"
    "    IF strpos(has, 'DateStyle=') = 0 THEN\n"
    "        ALTER ROLE ${role} SET datestyle = 'ISO';\n"
    "    END IF;\n"
    "    IF strpos(has, 'bytea_output=') = 0 THEN\n"
    "        ALTER ROLE ${role} SET bytea_output = 'hex';\n"
    "    END IF;\n"
    /* Short statements only: compiling one costs more than it ever takes, 270 ms where an estimate
     * is high because a kind of plan was switched off. */
    "    IF strpos(has, 'jit=') = 0 THEN\n"
    "        ALTER ROLE ${role} SET jit = off;\n"
    "    END IF;\n"
    "END $do$;\n"
    "CREATE SCHEMA IF NOT EXISTS ${schema};\n"
    "CREATE TABLE IF NOT EXISTS ${schema}.schema_version (\n"
    "    component   text NOT NULL,\n" /* the schema's own name, or 'common' */
    "    version     int NOT NULL,\n"
    "    name        text NOT NULL,\n"
    "    applied_at  timestamptz NOT NULL DEFAULT now(),\n" /* an operator's fact, not the domain's
                                                             */
    "    CONSTRAINT schema_version_pkey PRIMARY KEY (component, version)\n"
    ");\n"
    "GRANT USAGE ON SCHEMA ${schema} TO ${role};\n"
    "GRANT SELECT ON ${schema}.schema_version TO ${role};\n";

/* What each daemon sees of others, whichever of them was migrated first. */
static const char share_sql[] = "DO $do$\n"
                                "BEGIN\n"
                                "    IF to_regnamespace('bus') IS NOT NULL THEN\n"
                                "        GRANT USAGE ON SCHEMA bus TO daybook_daemon;\n"
                                "    END IF;\n"
                                "    IF to_regnamespace('directory_api') IS NOT NULL THEN\n"
                                "        GRANT USAGE ON SCHEMA directory_api TO daybook_daemon;\n"
                                "    END IF;\n"
                                "END $do$;\n";

struct run {
    struct db *db;
    const char *schema;
    int64_t limit_us;
    int applied;
    unsigned
        lock_timeouts; /* one after the other, from a random number on: the first try is short */
};

/* --- texts --- */

static bool is_schema_name(const char *name)
{
    size_t len = strlen(name);

    return len > 0 && len <= SCHEMA_NAME_MAX && islower((unsigned char)name[0]) &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == len;
}

/* Appends sql with its placeholders replaced; an unknown one spoils the buffer. */
static void add_sql(struct sbuf *out, const char *schema, const char *sql)
{
    static const char schema_mark[] = "${schema}", role_mark[] = "${role}";

    for (const char *mark; (mark = strstr(sql, "${")) != NULL;) {
        sbuf_add(out, sql, (size_t)(mark - sql));
        if (strncmp(mark, schema_mark, sizeof schema_mark - 1) == 0) {
            sbuf_add_text(out, schema);
            sql = mark + sizeof schema_mark - 1;
        } else if (strncmp(mark, role_mark, sizeof role_mark - 1) == 0) {
            sbuf_addf(out, "daybook_%s", schema);
            sql = mark + sizeof role_mark - 1;
        } else {
            out->bad = true;
            return;
        }
    }
    sbuf_add_text(out, sql);
}

/* --- running --- */

static bool is_passing(enum err e)
{
    return e == ERR_UNAVAILABLE || e == ERR_ABORTED || e == ERR_DEADLINE_EXCEEDED;
}

/* Runs texts as one transaction under the lock. */
static enum err run_once(struct run *r, const char *const *texts, size_t n)
{
    struct sbuf script;

    sbuf_init(&script, SCRIPT_MAX_BYTES);
    add_sql(&script, r->schema, begin_sql);
    add_sql(&script, r->schema,
            r->lock_timeouts % LONG_EVERY == LONG_EVERY - 1 ? wait_long : wait_short);
    for (size_t i = 0; i < n; i++)
        add_sql(&script, r->schema, texts[i]);
    sbuf_add_text(&script, "\n;COMMIT;");
    enum err e = ERR_INTERNAL;
    if (script.bad)
        log_error("migrate.text", "too long, or an unknown ${placeholder}", "schema", r->schema,
                  NULL);
    else
        e = db_script(r->db, script.data, MIN(r->limit_us, clock_monotonic_us() + SCRIPT_LIMIT_US));
    sbuf_fini(&script);
    bool timed_out = e != ERR_OK && strcmp(db_last_error(r->db)->sqlstate, "55P03") == 0;
    r->lock_timeouts = timed_out ? r->lock_timeouts + 1 : randombytes_uniform(LONG_EVERY - 1);
    return e;
}

/* A moment later, not at the same time as the other one; false when the time is up. */
static bool wait_to_retry(const struct run *r, enum err e)
{
    log_info("migrate.retry", err_name(e), "schema", r->schema, "sqlstate",
             db_last_error(r->db)->sqlstate, NULL);
    poll(NULL, 0, RETRY_DELAY_MS + (int)randombytes_uniform(2 * RETRY_DELAY_MS));
    return clock_monotonic_us() < r->limit_us;
}

static enum err run_until_done(struct run *r, const char *text)
{
    enum err e;

    do
        e = run_once(r, &text, 1);
    while (is_passing(e) && wait_to_retry(r, e));
    return e;
}

/* How many of a component are applied. They are applied in order, so the newest is their number. */
static enum err read_version(struct db *db, const char *schema, const char *component,
                             int64_t *version_out)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    char sql[160];

    snprintf(sql, sizeof sql,
             "SELECT coalesce(max(version), 0) AS version FROM %s.schema_version"
             " WHERE component = $1::text",
             schema);
    struct db_stmt stmt = { "migrate_version", sql, 1, NULL };
    enum err e = db_exec(db, &stmt, &component, &res);
    if (e)
        return e;
    struct db_row row = { .res = res };
    *version_out = db_row_i64(&row, "version");
    return row.bad ? ERR_INTERNAL : ERR_OK;
}

static enum err apply_one(struct run *r, const char *component, const struct migration *m,
                          int version)
{
    char mark[256];

    snprintf(mark, sizeof mark,
             "INSERT INTO ${schema}.schema_version (component, version, name)"
             " VALUES ('%s', %d, '%s');\n",
             component, version, m->name);
    const char *texts[] = { mark, m->sql };
    enum err e = run_once(r, texts, ARRAY_LEN(texts));
    if (e == ERR_OK) {
        r->applied++;
        log_info("migrate.applied", m->name, "schema", r->schema, NULL);
    }
    return e;
}

static bool lost_the_race(struct db *db, enum err e)
{
    return e == ERR_ALREADY_EXISTS &&
           strcmp(db_last_error(db)->constraint, "schema_version_pkey") == 0;
}

/* One step: reads where the component stands and applies what is next. */
static enum err advance(struct run *r, const char *component, const struct migration *list,
                        size_t n, bool *done_out)
{
    int64_t version = 0;

    enum err e = read_version(r->db, r->schema, component, &version);
    if (e)
        return e;
    *done_out = version >= (int64_t)n;
    return *done_out ? ERR_OK : apply_one(r, component, &list[version], (int)version + 1);
}

/* "0001_visits" must be the first, and so on: a gap or a double would be skipped silently. */
static enum err check_names(const char *schema, const struct migration *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int64_t number = 0;
        if (!num_i64_n(list[i].name, strspn(list[i].name, "0123456789"), 1, 9999, &number) ||
            number != (int64_t)i + 1 || strchr(list[i].name, '\'')) {
            log_error("migrate.numbering", "migrations are not numbered from 0001 without a gap",
                      "schema", schema, "name", list[i].name, NULL);
            return ERR_INTERNAL;
        }
    }
    return ERR_OK;
}

static enum err apply_all(struct run *r, const char *component, const struct migration *list,
                          size_t n)
{
    bool done = false;

    enum err e = check_names(r->schema, list, n);
    while (e == ERR_OK && !done) {
        e = advance(r, component, list, n, &done);
        if (lost_the_race(r->db, e) || (is_passing(e) && wait_to_retry(r, e)))
            e = ERR_OK; /* look again where it stands */
    }
    return e;
}

enum err migrate_run(struct db *db, const char *schema, const struct migration *list, size_t n,
                     int *applied_out)
{
    struct run r = { .db = db,
                     .schema = schema,
                     .limit_us = clock_monotonic_us() + RUN_LIMIT_US,
                     .lock_timeouts = randombytes_uniform(LONG_EVERY - 1) };

    if (!is_schema_name(schema)) {
        log_error("migrate.schema_name", "not a name for a schema", "schema", schema, NULL);
        return ERR_INVALID_ARGUMENT;
    }
    enum err e = run_until_done(&r, prepare_sql);
    if (e == ERR_OK)
        e = apply_all(&r, "common", common_migrations, common_migrations_len);
    if (e == ERR_OK)
        e = apply_all(&r, schema, list, n);
    if (e == ERR_OK)
        e = run_until_done(&r, share_sql);
    if (e == ERR_OK)
        *applied_out = r.applied;
    else
        log_error("migrate.failed", err_name(e), "schema", schema, "sqlstate",
                  db_last_error(db)->sqlstate, NULL);
    return e;
}

/* --- checking --- */

/* Whether there is a version table that we may read, asked so that neither is an error. */
static enum err is_there(struct db *db, const char *schema, bool *yes_out)
{
    static const struct db_stmt stmt = {
        "migrate_is_there",
        "SELECT coalesce((SELECT has_schema_privilege(n.oid, 'USAGE')"
        "                    AND has_table_privilege(c.oid, 'SELECT')"
        "                   FROM pg_catalog.pg_class c"
        "                   JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        "                  WHERE n.nspname = $1::text AND c.relname = 'schema_version'), false)"
        "       AS yes",
        1, NULL
    };
    CLEANUP(db_result_clear) PGresult *res = NULL;

    enum err e = db_exec(db, &stmt, &schema, &res);
    if (e)
        return e;
    struct db_row row = { .res = res };
    *yes_out = db_row_bool(&row, "yes");
    return row.bad ? ERR_INTERNAL : ERR_OK;
}

static enum err check(struct db *db, const char *schema, size_t n, int *version_out)
{
    int64_t common = 0, own = 0;
    bool there = false;

    *version_out = 0;
    enum err e = is_there(db, schema, &there);
    if (e)
        return e;
    if (!there)
        return ERR_FAILED_PRECONDITION;
    e = read_version(db, schema, "common", &common);
    if (e == ERR_OK)
        e = read_version(db, schema, schema, &own);
    if (e)
        return e;
    *version_out = (int)own;
    return common >= (int64_t)common_migrations_len && own >= (int64_t)n ? ERR_OK
                                                                         : ERR_FAILED_PRECONDITION;
}

enum err migrate_check(struct db *db, const char *schema, size_t n, int64_t deadline_us,
                       int *version_out)
{
    if (!is_schema_name(schema))
        return ERR_INVALID_ARGUMENT;
    enum err e = db_begin(db, NULL, deadline_us);
    if (e)
        return e;
    e = check(db, schema, n, version_out);
    db_rollback(db); /* it only read */
    return e;
}
