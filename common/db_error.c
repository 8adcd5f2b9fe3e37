/*
 * db_error.c - what a SQLSTATE means to us: one table, the longest prefix wins (operations 4).
 */
#include "common/db_internal.h"

#include "common/log.h"
#include "common/metrics.h"

enum sqlstate_action {
    ACT_NONE = 0,
    ACT_RECONNECT = 1, /* this session is of no more use */
    ACT_LOG = 2,       /* no caller can act on it */
    ACT_PAGE = 4,      /* an operator must look */
};

static const struct sqlstate_rule {
    const char *prefix;
    enum err code;
    int actions;
} rules[] = {
    { "08", ERR_UNAVAILABLE, ACT_RECONNECT },
    { "0A000", ERR_ABORTED, ACT_RECONNECT | ACT_LOG }, /* see db_error_take() */
    { "22", ERR_INVALID_ARGUMENT, ACT_NONE },
    { "23502", ERR_FAILED_PRECONDITION, ACT_NONE },
    { "23503", ERR_FAILED_PRECONDITION, ACT_NONE },
    { "23505", ERR_ALREADY_EXISTS, ACT_NONE },
    { "23514", ERR_FAILED_PRECONDITION, ACT_NONE },
    { "23P01", ERR_ALREADY_EXISTS, ACT_NONE },
    { "25006", ERR_UNAVAILABLE, ACT_RECONNECT }, /* demoted in place (F16) */
    { "25P03", ERR_UNAVAILABLE, ACT_RECONNECT },
    { "26000", ERR_ABORTED, ACT_NONE },
    { "40003", ERR_UNAVAILABLE, ACT_RECONNECT },
    { "40", ERR_ABORTED, ACT_NONE },
    { "42P05", ERR_ABORTED, ACT_NONE },
    { "53", ERR_UNAVAILABLE, ACT_PAGE }, /* no disk, memory, connection left (F18, F21) */
    { "55P03", ERR_UNAVAILABLE, ACT_NONE },
    { "57014", ERR_DEADLINE_EXCEEDED, ACT_NONE },
    { "57P", ERR_UNAVAILABLE, ACT_RECONNECT },
    { "58", ERR_UNAVAILABLE, ACT_RECONNECT | ACT_PAGE }, /* the server's disk (F22) */
};

static struct metric errors_total = {
    .name = "daybook_db_errors_total",
    .type = METRIC_COUNTER,
    .help = "Failed statements and lost connections, by the first two characters of the SQLSTATE.",
    .labels = { "sqlstate_class" },
};

static struct metric round_trips_total = {
    .name = "daybook_db_round_trips_total",
    .type = METRIC_COUNTER,
    .help = "Waits for answers of PostgreSQL.",
};

static struct metric query_seconds = {
    .name = "daybook_db_query_seconds",
    .type = METRIC_HISTOGRAM,
    .help = "How long PostgreSQL's answers were waited for, by the statement that was sent last: "
            "what was queued before it went along.",
    .labels = { "statement" },
    .buckets = metric_query_buckets,
};

static struct metric connections_gauge = {
    .name = "daybook_db_connections",
    .type = METRIC_GAUGE,
    .help =
        "Connections to PostgreSQL that stand (open), and of these how many are in a transaction "
        "(busy) and how many are not (idle).",
    .labels = { "state" },
};

static const struct sqlstate_rule *rule_of(const char *sqlstate)
{
    const struct sqlstate_rule *best = NULL;

    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        size_t len = strlen(rules[i].prefix);
        if (strncmp(sqlstate, rules[i].prefix, len) == 0 &&
            (best == NULL || len > strlen(best->prefix)))
            best = &rules[i];
    }
    return best;
}

void db_error_count(const char *sqlstate)
{
    char class_buf[3] = { 0 };
    const char *labels[] = { class_buf };

    snprintf(class_buf, sizeof class_buf, "%s", sqlstate[0] ? sqlstate : "08");
    metric_add(&errors_total, 1, labels);
}

void db_count_round_trip(struct db *db, const char *name, int64_t took_us)
{
    db->round_trips++;
    metric_add(&round_trips_total, 1, NULL);
    metric_observe(&query_seconds, (double)took_us / SECOND_US, (const char *const[]){ name });
}

void db_count_use(struct db *db)
{
    static const char *const names[] = {
        [DB_USE_IDLE] = "idle",
        [DB_USE_BUSY] = "busy",
    };
    enum db_use use = !db->conn ? DB_USE_NONE : db->in_tx ? DB_USE_BUSY : DB_USE_IDLE;
    int opened = (use != DB_USE_NONE) - (db->counted != DB_USE_NONE);

    if (use == db->counted)
        return;
    if (opened)
        metric_shift(&connections_gauge, opened, (const char *const[]){ "open" });
    if (db->counted != DB_USE_NONE)
        metric_shift(&connections_gauge, -1, &names[db->counted]);
    if (use != DB_USE_NONE)
        metric_shift(&connections_gauge, 1, &names[use]);
    db->counted = use;
}

void db_error_clear(struct db *db)
{
    db->error = (struct db_error){ 0 };
}

bool db_error_is_fatal(const PGresult *res)
{
    const char *severity = PQresultErrorField(res, PG_DIAG_SEVERITY_NONLOCALIZED);
    const char *sqlstate = PQresultErrorField(res, PG_DIAG_SQLSTATE);

    if (sqlstate == NULL || severity == NULL)
        return true; /* libpq's own: the connection broke */
    return strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0;
}

bool db_error_commit_warning(const PGresult *notice)
{
    const char *severity = PQresultErrorField(notice, PG_DIAG_SEVERITY_NONLOCALIZED);
    const char *sqlstate = PQresultErrorField(notice, PG_DIAG_SQLSTATE);

    /* The text may be in any language; nothing else that we send warns at its COMMIT. */
    return severity && sqlstate && strcmp(severity, "WARNING") == 0 &&
           (strcmp(sqlstate, "01000") == 0 || strcmp(sqlstate, "57P01") == 0);
}

/*
 * Names are hashes of texts, so a name that is taken (42P05) holds our very statement, left by
 * another client of the same pooled session; one that is lost (26000) has to be prepared again.
 * When that goes on, the pooler changes sessions under us: give up preparing on this connection.
 */
static void on_name_fault(struct db *db, const char *sqlstate, struct db_prepared *prepared)
{
    if (prepared && strcmp(sqlstate, "42P05") == 0) {
        prepared->state = DB_PREPARED_READY;
    } else {
        for (size_t i = 0; i < DB_PREPARED_SLOTS; i++)
            db->prepared[i].state = DB_PREPARED_NONE;
    }
    if (++db->name_faults == DB_NAME_FAULTS_MAX)
        log_warn("db.prepare_given_up", "names of prepared statements get lost: not preparing",
                 "sqlstate", sqlstate, NULL);
}

static void report(const struct db *db, const struct sqlstate_rule *rule, const PGresult *res)
{
    int actions = rule ? rule->actions : ACT_LOG;

    if (actions & (ACT_LOG | ACT_PAGE))
        log_error(actions & ACT_PAGE ? "db.server_in_trouble" : "db.statement_failed",
                  PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY), "sqlstate", db->error.sqlstate,
                  "statement", db->error.statement, "constraint", db->error.constraint, NULL);
}

enum err db_error_take(struct db *db, const PGresult *res, const char *name,
                       struct db_prepared *prepared)
{
    const char *sqlstate = PQresultErrorField(res, PG_DIAG_SQLSTATE);
    const char *constraint = PQresultErrorField(res, PG_DIAG_CONSTRAINT_NAME);

    if (sqlstate == NULL)
        sqlstate = "08006";
    db_error_clear(db);
    snprintf(db->error.sqlstate, sizeof db->error.sqlstate, "%s", sqlstate);
    snprintf(db->error.constraint, sizeof db->error.constraint, "%s", constraint ? constraint : "");
    snprintf(db->error.statement, sizeof db->error.statement, "%s", name);
    db_error_count(sqlstate);

    const struct sqlstate_rule *rule = rule_of(sqlstate);
    report(db, rule, res);
    if (strcmp(sqlstate, "26000") == 0 || strcmp(sqlstate, "42P05") == 0)
        on_name_fault(db, sqlstate, prepared);
    /* "cached plan must not change result type": a migration changed a column (F55). Only a new
     * session gets rid of the plan. Where nothing was prepared it is simply unsupported. */
    if (strcmp(sqlstate, "0A000") == 0 && prepared == NULL)
        return ERR_INTERNAL;
    if (rule && rule->actions & ACT_RECONNECT)
        db->doomed = true;
    return rule ? rule->code : ERR_INTERNAL;
}
