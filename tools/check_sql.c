/*
 * check_sql.c - `make check-sql`: do all statements fit the schemas that all migrations make?
 *
 *     check_sql common services/bus services/visits ...
 *
 * On a PostgreSQL of its own it runs deploy/roles.sql as superuser, migrates every area as
 * daybook_owner, then prepares each sql/<name>.sql as its daemon's role and plans it with NULLs,
 * which also tells whether the role may do what the statement does. Then it looks whether all tables
 * could be spread over shards (check_distribution.sql; alone with --distribution). One line for each
 * fault; exits 1 when there was any.
 */
#include <dirent.h>
#include <errno.h>

#include <libpq-fe.h>

#include "common/clock.h"
#include "common/db.h"
#include "common/migrate.h"
#include "common/sbuf.h"
#include "tests/support/servers.h"

#define FILE_MAX_BYTES (4 * MIB)
#define FILES_MAX 1000
#define PATH_SIZE 512
#define SCHEMA_MARK "${schema}"

struct area {
    const char *dir;  /* "services/visits" */
    const char *name; /* "visits" */
};

static struct servers *servers;
static int faults, statements;

static void fault(const char *what, const char *why)
{
    size_t len = strcspn(why, "\n");

    printf("%s: %.*s\n", what, (int)len, why);
    faults++;
}

/* --- files --- */

/* The caller frees; exits when it cannot be read: a check that skips is none. */
static char *read_text(const char *path)
{
    FILE *f = fopen(path, "r");
    struct sbuf text;
    char buf[4096];
    size_t n;

    if (f == NULL) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(2);
    }
    sbuf_init(&text, FILE_MAX_BYTES);
    while ((n = fread(buf, 1, sizeof buf, f)) > 0)
        sbuf_add(&text, buf, n);
    bool failed = ferror(f) || text.bad;
    fclose(f);
    if (failed) {
        fprintf(stderr, "%s: cannot be read, or too long\n", path);
        exit(2);
    }
    return sbuf_take(&text);
}

static int is_sql(const struct dirent *e)
{
    size_t len = strlen(e->d_name);

    return len > 4 && strcmp(e->d_name + len - 4, ".sql") == 0;
}

/* Names of the .sql files of dir/sub in order, without the ending; 0 when there is no such folder.
 */
static size_t list_sql(const char *dir, const char *sub, char *names[static FILES_MAX])
{
    char path[PATH_SIZE];
    struct dirent **found = NULL;
    size_t n = 0;

    snprintf(path, sizeof path, "%s/%s", dir, sub);
    int count = scandir(path, &found, is_sql, alphasort);
    for (int i = 0; i < count; i++) {
        if (n < FILES_MAX)
            names[n++] = strndup(found[i]->d_name, strlen(found[i]->d_name) - 4);
        free(found[i]);
    }
    free(found);
    return n;
}

/* --- migrations --- */

static void migrate_area(struct db *db, const struct area *area)
{
    static char *names[FILES_MAX];
    static struct migration list[FILES_MAX];
    size_t n = list_sql(area->dir, "migrations", names);
    int applied = 0;

    for (size_t i = 0; i < n; i++) {
        char path[PATH_SIZE];
        snprintf(path, sizeof path, "%s/migrations/%s.sql", area->dir, names[i]);
        list[i] = (struct migration){ names[i], read_text(path) };
    }
    enum err e = migrate_run(db, area->name, list, n, &applied);
    if (e)
        fault(area->dir, "migrations failed; the log says why");
    for (size_t i = 0; i < n; i++) {
        free((char *)(uintptr_t)list[i].sql);
        free(names[i]);
    }
}

static void run_roles(void)
{
    CLEANUP(db_freep) struct db *db = db_new(servers_conninfo(servers), "check_sql");
    char *sql = read_text("deploy/roles.sql");

    if (db == NULL || db_script(db, sql, clock_monotonic_us() + MINUTE_US) != ERR_OK)
        fault("deploy/roles.sql", db ? db_last_error(db)->sqlstate : "out of memory");
    free(sql);
}

/* Has no schema of its own; its ${schema} is any daemon's. */
static bool is_every_schemas(const struct area *area)
{
    return strcmp(area->name, "common") == 0 || strcmp(area->name, "cli") == 0;
}

static void migrate_all(const struct area *areas, size_t n)
{
    char *conninfo = servers_conninfo_of(servers, "daybook_owner");
    CLEANUP(db_freep) struct db *db = db_new(conninfo, "check_sql");

    free(conninfo);
    for (size_t i = 0; db && i < n; i++)
        if (!is_every_schemas(&areas[i]))
            migrate_area(db, &areas[i]);
}

/* --- statements --- */

/* What stands behind "-- params:" on the first line, counted. -1: no such line. */
static int count_params(const char *text)
{
    static const char mark[] = "-- params:";
    int n = 0;

    if (strncmp(text, mark, sizeof mark - 1) != 0)
        return -1;
    for (const char *p = text + sizeof mark - 1; *p && *p != '\n'; p++)
        n += *p != ' ' && (p[1] == ' ' || p[1] == '\n' || p[1] == '\0');
    return n;
}

static void replace_schema(const char *text, const char *schema, struct sbuf *out)
{
    for (const char *at; (at = strstr(text, SCHEMA_MARK)) != NULL;
         text = at + sizeof SCHEMA_MARK - 1) {
        sbuf_add(out, text, (size_t)(at - text));
        sbuf_add_text(out, schema);
    }
    sbuf_add_text(out, text);
}

/* Runs and reports; NULL when it failed. */
static PGresult *done(PGconn *conn, PGresult *res, const char *path)
{
    ExecStatusType status = PQresultStatus(res);

    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK)
        return res;
    fault(path, PQerrorMessage(conn));
    PQclear(res);
    return NULL;
}

static void plan(PGconn *conn, const char *path, int nparams)
{
    struct sbuf sql;

    sbuf_init(&sql, FILE_MAX_BYTES);
    sbuf_add_text(&sql, "EXPLAIN EXECUTE checked");
    for (int i = 0; i < nparams; i++)
        sbuf_add_text(&sql, i ? ", NULL" : "(NULL");
    if (nparams)
        sbuf_add_char(&sql, ')');
    PQclear(done(conn, PQexec(conn, sql.data), path));
    sbuf_fini(&sql);
}

static void check_prepared(PGconn *conn, const char *path, int named)
{
    PGresult *res = done(conn, PQdescribePrepared(conn, "checked"), path);
    if (res == NULL)
        return;
    int nparams = PQnparams(res);
    PQclear(res);
    if (named < 0)
        fault(path, "the first line is not '-- params: ...'");
    else if (named != nparams)
        fault(path, "the first line names another number of parameters than the text has");
    plan(conn, path, nparams);
}

static void check_statement(PGconn *conn, const char *path, const char *schema)
{
    char *text = read_text(path);
    struct sbuf sql;

    statements++;
    sbuf_init(&sql, FILE_MAX_BYTES);
    replace_schema(text, schema, &sql);
    PQclear(PQexec(conn, "BEGIN"));
    PGresult *res = done(conn, PQprepare(conn, "checked", sql.data, 0, NULL), path);
    if (res)
        check_prepared(conn, path, count_params(text));
    PQclear(res);
    PQclear(PQexec(conn, "ROLLBACK"));
    PQclear(PQexec(conn, "DEALLOCATE ALL"));
    sbuf_fini(&sql);
    free(text);
}

/* schema: whose role runs them, and what ${schema} stands for. */
static void check_area(const struct area *area, const char *schema)
{
    static char *names[FILES_MAX];
    size_t n = list_sql(area->dir, "sql", names);
    char role[64], path[PATH_SIZE];

    if (n == 0)
        return;
    /* the operator's tool works as the owner */
    snprintf(role, sizeof role, "daybook_%s", strcmp(area->name, "cli") == 0 ? "owner" : schema);
    char *conninfo = servers_conninfo_of(servers, role);
    PGconn *conn = PQconnectdb(conninfo);
    if (PQstatus(conn) != CONNECTION_OK)
        fault(area->dir, PQerrorMessage(conn));
    for (size_t i = 0; i < n; i++) {
        snprintf(path, sizeof path, "%s/sql/%s.sql", area->dir, names[i]);
        if (PQstatus(conn) == CONNECTION_OK)
            check_statement(conn, path, schema);
        free(names[i]);
    }
    PQfinish(conn);
    free(conninfo);
}

/* --- distribution --- */

static void check_distribution(void)
{
    char *text = read_text("tools/check_distribution.sql");
    PGconn *conn = PQconnectdb(servers_conninfo(servers));
    PGresult *res = done(conn, PQexec(conn, text), "tools/check_distribution.sql");

    for (int i = 0; i < PQntuples(res); i++)
        fault(PQgetvalue(res, i, 0), PQgetvalue(res, i, 1));
    PQclear(res);
    PQfinish(conn);
    free(text);
}

/* The bus and the directory first, since the others' migrations may refer to them. */
static int rank(const struct area *a)
{
    return strcmp(a->name, "bus") == 0 ? 0 : strcmp(a->name, "directory") == 0 ? 1 : 2;
}

static int by_rank(const void *x, const void *y)
{
    const struct area *a = x, *b = y;

    return rank(a) != rank(b) ? rank(a) - rank(b) : strcmp(a->name, b->name);
}

int main(int argc, char **argv)
{
    struct area areas[32];
    size_t n = 0;
    /* A daemon's schema, for the statements that all daemons have: the gateway's role may read API
     * keys besides. */
    const char *any = "bus";
    bool statements_too = argc < 2 || strcmp(argv[1], "--distribution") != 0;

    for (int i = statements_too ? 1 : 2; i < argc && n < ARRAY_LEN(areas); i++) {
        const char *slash = strrchr(argv[i], '/');
        areas[n++] = (struct area){ argv[i], slash ? slash + 1 : argv[i] };
    }
    qsort(areas, n, sizeof *areas, by_rank);
    servers = servers_start_with(&(struct servers_options){ .durable = false });
    run_roles();
    migrate_all(areas, n);
    for (size_t i = 0; i < n; i++)
        if (rank(&areas[i]) == 2 && !is_every_schemas(&areas[i]) && strcmp(any, "gateway") != 0)
            any = areas[i].name;
    for (size_t i = 0; i < n && statements_too; i++)
        check_area(&areas[i], is_every_schemas(&areas[i]) ? any : areas[i].name);
    check_distribution();
    servers_stop(servers);
    printf("check-sql: %zu areas, %d statements, %d faults\n", n, statements, faults);
    return faults ? 1 : 0;
}
