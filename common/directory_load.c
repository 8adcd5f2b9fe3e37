/*
 * directory_load.c - the refresher: reads the published views of the directory and swaps snapshots.
 *
 * One thread with one connection. A look is one transaction under REPEATABLE READ, so that a
 * snapshot never mixes two states: it reads the revision, and only when that has moved all the
 * rest. Each directory command raises the revision in its own transaction, so what is committed
 * under a revision is what the snapshot of that revision holds.
 */
#include <errno.h>
#include <pthread.h>

#include "common/clock.h"
#include "common/db.h"
#include "common/directory_build.h"
#include "common/directory_snapshot.h"
#include "common/log.h"
#include "common/sql.h"
#include "common/thread.h"

#define LOOK_EVERY_US SECOND_US
#define LOOK_BUDGET_US (10 * SECOND_US)

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed; /* both ways: a look is wanted, or a snapshot is new */
    pthread_t thread;
    bool running;
    bool stopping;
    bool look_wanted;
    int64_t held_revision; /* -1 = none yet */
    struct db *db;         /* the thread's */
    bool with_api_keys;    /* set before the thread starts */
} refresher = { .lock = PTHREAD_MUTEX_INITIALIZER, .held_revision = -1 };

/* --- rows to pieces --------------------------------------------------------------------------- */

static void add_tenant(struct directory_builder *b, struct db_row *row)
{
    directory_builder_add_tenant(b, db_row_id(row, "tenant_id"), db_row_text(row, "name"),
                                 db_row_text(row, "time_zone"), db_row_text(row, "currency_code"));
}

static void add_unit(struct directory_builder *b, struct db_row *row)
{
    directory_builder_add_unit(
        b, db_row_id(row, "tenant_id"),
        &(struct directory_unit_in){ .id = db_row_id(row, "id"),
                                     .parent = db_row_id_or_nil(row, "parent_id"),
                                     .code = db_row_text(row, "code"),
                                     .name = db_row_text(row, "name") });
}

static void add_employee(struct directory_builder *b, struct db_row *row)
{
    struct directory_employee_in e = {
        .id = db_row_id(row, "id"),
        .unit = db_row_id(row, "unit_id"),
        .superior = db_row_id_or_nil(row, "superior_id"),
        .employee_no = db_row_text(row, "employee_no"),
        .name = db_row_text(row, "name"),
        .roles = db_row_text(row, "roles"),
        .home_city_code = db_row_text(row, "home_city_code"),
        .inactive = !db_row_bool(row, "active"),
    };
    directory_builder_add_employee(b, db_row_id(row, "tenant_id"), &e);
}

static void add_policy(struct directory_builder *b, struct db_row *row)
{
    struct policy_setting s = {
        .key = db_row_text(row, "key"),
        .unit = db_row_id_or_nil(row, "unit_id"),
        .effective_from_us = db_row_time(row, "effective_from"),
        .value = db_row_text(row, "value"),
    };
    if (!row->bad)
        directory_builder_set_policy(b, db_row_id(row, "tenant_id"), &s);
}

static void add_year(struct directory_builder *b, struct db_row *row)
{
    directory_builder_add_days(b, db_row_id(row, "tenant_id"), (int16_t)db_row_i32(row, "year"),
                               NULL, 0);
}

static void add_day(struct directory_builder *b, struct db_row *row)
{
    struct calendar_day day = {
        .is_off_day = db_row_bool(row, "is_off_day"),
        .name = db_row_text(row, "name"),
    };
    const char *date = db_row_text(row, "date");
    if (!date || !date_parse(date, &day.date))
        row->bad = true;
    else
        directory_builder_add_days(b, db_row_id(row, "tenant_id"), (int16_t)db_row_i32(row, "year"),
                                   &day, 1);
}

static struct dir_key read_key(struct db_row *row)
{
    return (struct dir_key){
        .credential = db_row_id(row, "credential_id"),
        .tenant = db_row_id(row, "tenant_id"),
        .actor = db_row_id(row, "actor_id"),
        .is_employee = db_row_bool(row, "is_employee"),
        .expires_at_us = db_row_is_null(row, "expires_at") ? 0 : db_row_time(row, "expires_at"),
    };
}

static void add_key(struct directory_builder *b, struct db_row *row)
{
    struct dir_key key = read_key(row);
    const char *z85 = db_row_text(row, "public_key");
    if (!z85 || strlen(z85) != sizeof(key.public_key) - 1) {
        row->bad = true;
        return;
    }
    memcpy(key.public_key, z85, sizeof(key.public_key));
    directory_builder_add_key(b, &key, db_row_text(row, "scopes"));
}

static void add_secret(struct directory_builder *b, struct db_row *row, bool is_feed)
{
    struct dir_key key = read_key(row);
    key.is_feed = is_feed;
    key.secret_hash = db_row_text(row, "secret_hash");
    key.networks = db_row_text(row, "networks");
    if (!key.secret_hash)
        row->bad = true;
    else
        directory_builder_add_key(b, &key, db_row_text(row, "scopes"));
}

static void add_api_key(struct directory_builder *b, struct db_row *row)
{
    add_secret(b, row, false);
}

static void add_feed(struct directory_builder *b, struct db_row *row)
{
    add_secret(b, row, true);
}

/* Tenants first: the others name them. */
static const struct part {
    const struct db_stmt *stmt;
    void (*add)(struct directory_builder *b, struct db_row *row);
} parts[] = {
    { &sql_dirapi_tenants, add_tenant },     { &sql_dirapi_units, add_unit },
    { &sql_dirapi_employees, add_employee }, { &sql_dirapi_policies, add_policy },
    { &sql_dirapi_years, add_year },         { &sql_dirapi_days, add_day },
    { &sql_dirapi_keys, add_key },
};
static const struct part of_edges[] = {
    { &sql_dirapi_api_keys, add_api_key },
    { &sql_dirapi_calendar_feeds, add_feed },
};

static enum err load_part(struct db *db, const struct part *part, struct directory_builder *b)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    enum err e = db_exec(db, part->stmt, NULL, &res);
    if (e)
        return e;
    int n = PQntuples(res);
    for (int i = 0; i < n; i++) {
        struct db_row row = { .res = res, .row = i };
        part->add(b, &row);
        if (row.bad) {
            log_error("directory.bad_row", "a published row cannot be read", "statement",
                      part->stmt->name, NULL);
            return ERR_INTERNAL;
        }
    }
    return ERR_OK;
}

static enum err load(struct db *db, int64_t revision)
{
    struct directory_builder *b = directory_builder_new();
    enum err e = b ? ERR_OK : ERR_RESOURCE_EXHAUSTED;

    for (size_t i = 0; !e && i < ARRAY_LEN(parts); i++)
        e = load_part(db, &parts[i], b);
    for (size_t i = 0; !e && refresher.with_api_keys && i < ARRAY_LEN(of_edges); i++)
        e = load_part(db, &of_edges[i], b);
    if (e) {
        directory_builder_free(b);
        return e;
    }
    directory_builder_set_revision(b, revision);
    const struct directory *d = directory_builder_finish(b);
    if (!d)
        return ERR_RESOURCE_EXHAUSTED;
    directory_publish(d);
    return ERR_OK;
}

/* --- looking ---------------------------------------------------------------------------------- */

/* Whether the snapshot is out of date although the revision stands: a calendar policy set for a
 * later date has come into force (the domain clock may also have been turned). */
static bool date_has_come(void)
{
    CLEANUP(directory_releasep) const struct directory *d = directory_acquire();
    return d && clock_now_us() >= d->next_change_us;
}

static enum err read_revision(struct db *db, int64_t *revision_out)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    enum err e = db_queue(db, &sql_dirapi_isolation, NULL);
    if (!e)
        e = db_exec(db, &sql_dirapi_revision, NULL, &res);
    if (e)
        return e;
    if (PQntuples(res) != 1)
        return ERR_INTERNAL;
    struct db_row row = { .res = res };
    int64_t revision = db_row_i64(&row, "revision");
    if (row.bad)
        return ERR_INTERNAL;
    *revision_out = revision;
    return ERR_OK;
}

/* One look. held: the revision at hand, -1 = none; *held_out: the one at hand afterwards. */
static enum err look(struct db *db, int64_t held, int64_t *held_out)
{
    int64_t revision = 0;
    enum err e = db_begin(db, NULL, clock_monotonic_us() + LOOK_BUDGET_US);
    if (!e)
        e = read_revision(db, &revision);
    bool stale = !e && (revision != held || date_has_come());
    if (stale)
        e = load(db, revision);
    if (!e)
        e = db_commit(db);
    else
        db_rollback(db);
    if (!e && stale)
        *held_out = revision;
    return e;
}

/* --- the thread ------------------------------------------------------------------------------- */

/* Waits for a wish or the time; under the lock. Waiting uses the monotonic clock. */
static void wait_for_wish(void)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += LOOK_EVERY_US / SECOND_US;
    while (!refresher.stopping && !refresher.look_wanted)
        if (pthread_cond_timedwait(&refresher.changed, &refresher.lock, &until) == ETIMEDOUT)
            break;
    refresher.look_wanted = false;
}

static void *refresh(void *arg)
{
    (void)arg;
    int64_t held = -1;
    enum err last = ERR_OK;

    pthread_mutex_lock(&refresher.lock);
    while (!refresher.stopping) {
        pthread_mutex_unlock(&refresher.lock);
        enum err e = look(refresher.db, held, &held);
        if (e != last && e)
            log_warn("directory.refresh_failed",
                     "the directory cannot be read; the old snapshot "
                     "stays",
                     "code", err_name(e), NULL);
        else if (e != last)
            log_info("directory.refreshed", "the directory can be read again", NULL);
        last = e;
        pthread_mutex_lock(&refresher.lock);
        if (held != refresher.held_revision) {
            refresher.held_revision = held;
            pthread_cond_broadcast(&refresher.changed);
        }
        wait_for_wish();
    }
    pthread_mutex_unlock(&refresher.lock);
    return NULL;
}

static enum err init_condition(void)
{
    pthread_condattr_t attr;
    if (pthread_condattr_init(&attr) != 0)
        return ERR_RESOURCE_EXHAUSTED;
    int failed = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    if (!failed)
        failed = pthread_cond_init(&refresher.changed, &attr);
    pthread_condattr_destroy(&attr);
    return failed ? ERR_RESOURCE_EXHAUSTED : ERR_OK;
}

enum err directory_start(const char *conninfo, bool with_api_keys)
{
    enum err e = init_condition();
    if (e)
        return e;
    refresher.with_api_keys = with_api_keys;
    refresher.stopping = refresher.look_wanted = false;
    refresher.held_revision = -1;
    refresher.db = db_new(conninfo, "directory-snapshot");
    pthread_mutex_lock(&refresher.lock);
    refresher.running = refresher.db && thread_start(&refresher.thread, "directory", refresh, NULL);
    pthread_mutex_unlock(&refresher.lock);
    if (refresher.running)
        return ERR_OK;
    db_freep(&refresher.db);
    pthread_cond_destroy(&refresher.changed);
    return ERR_RESOURCE_EXHAUSTED;
}

void directory_stop(void)
{
    if (!refresher.running)
        return;
    pthread_mutex_lock(&refresher.lock);
    refresher.stopping = true;
    pthread_cond_broadcast(&refresher.changed);
    pthread_mutex_unlock(&refresher.lock);
    pthread_join(refresher.thread, NULL);
    pthread_mutex_lock(&refresher.lock);
    refresher.running = false;
    pthread_mutex_unlock(&refresher.lock);
    db_freep(&refresher.db);
    pthread_cond_destroy(&refresher.changed);
    directory_publish(NULL);
}

void directory_refresh(void)
{
    pthread_mutex_lock(&refresher.lock);
    if (refresher.running) {
        refresher.look_wanted = true;
        pthread_cond_broadcast(&refresher.changed);
    }
    pthread_mutex_unlock(&refresher.lock);
}

enum err directory_wait(int64_t revision, int64_t deadline_us)
{
    struct timespec until = { .tv_sec = deadline_us / SECOND_US,
                              .tv_nsec = deadline_us % SECOND_US * 1000 };
    enum err e = ERR_OK;

    directory_refresh();
    pthread_mutex_lock(&refresher.lock);
    while (!e && refresher.held_revision < revision) {
        if (!refresher.running)
            e = ERR_UNAVAILABLE;
        else if (pthread_cond_timedwait(&refresher.changed, &refresher.lock, &until) == ETIMEDOUT &&
                 refresher.held_revision < revision)
            e = ERR_DEADLINE_EXCEEDED;
    }
    pthread_mutex_unlock(&refresher.lock);
    return e;
}
