/*
 * lease.c - see lease.h. The lock guards the picture that other threads see; the database is never
 * asked under it. No statement of the tick waits for a row that another session holds: a replica
 * that froze in the middle of something must not stop those that live.
 */
#include "common/lease.h"

#include <assert.h>
#include <pthread.h>

#include "common/clock.h"
#include "common/columns.h"
#include "common/log.h"
#include "common/sql.h"
#include "common/sql_schema.h"

#define TTL_TEXT TEXT_OF(LEASE_TTL_MS)
#define TEXT_OF(x) TEXT_OF_(x)
#define TEXT_OF_(x) #x
#define SKEW_MAX_US (5 * SECOND_US) /* F41 */
#define RENEW_US (900 * MSEC_US)    /* a renewal is left out sooner than this after the last */
#define LEAVE_LIMIT_US (2 * SECOND_US)
#define LEAVE_PAUSE_US (5 * MSEC_US)
#define NAME_TAIL 36 /* of an instance, in application_name (sql/lease_oust.sql) */

struct leases {
    const struct lease_plan *plan;
    int total; /* of the plan */
    char *instance;
    int64_t (*wall_us)(void); /* NULL: not compared */
    pthread_mutex_t lock;
    bool held[LEASES_MAX];
    int64_t version[LEASES_MAX];
    uint64_t generation;
    int64_t renewed_us; /* monotonic time before the last renewal was asked for */
};

static const struct db_stmt *of_schema(const struct leases *l, const struct db_stmt *stmt)
{
    return sql_for_schema(stmt, l->plan->schema);
}

/* --- the spread ------------------------------------------------------------------------------ */

static uint64_t mix(uint64_t h)
{
    h ^= h >> 33;
    h *= UINT64_C(0xff51afd7ed558ccd);
    h ^= h >> 33;
    h *= UINT64_C(0xc4ceb9fe1a85ec53);
    return h ^ h >> 33;
}

static uint64_t score(const char *member, int lease)
{
    uint64_t h = UINT64_C(14695981039346656037);

    for (; *member; member++)
        h = (h ^ (uint8_t)*member) * UINT64_C(1099511628211);
    return mix(h ^ mix((uint64_t)lease + 1));
}

static void spread_range(const char *const *members, size_t n, int first, int count, int *owner_out)
{
    int load[MEMBERS_MAX] = { 0 };
    int share = (count + (int)n - 1) / (int)n;

    for (int lease = first; lease < first + count; lease++) {
        int best = -1;
        for (int m = 0; m < (int)n; m++)
            if (load[m] < share &&
                (best < 0 || score(members[m], lease) > score(members[best], lease)))
                best = m;
        assert(best >= 0);
        load[best]++;
        owner_out[lease] = best;
    }
}

static int total_of(const struct lease_plan *plan)
{
    int total = 0;

    for (size_t i = 0; i < ARRAY_LEN(plan->counts); i++)
        total += plan->counts[i];
    assert(total <= LEASES_MAX);
    return total;
}

void lease_spread(const struct lease_plan *plan, const char *const *members, size_t n,
                  int owner_out[static LEASES_MAX])
{
    int first = 0;

    assert(n > 0 && n <= MEMBERS_MAX);
    for (size_t i = 0; i < ARRAY_LEN(plan->counts); first += plan->counts[i++])
        spread_range(members, n, first, plan->counts[i], owner_out);
}

/* --- life ------------------------------------------------------------------------------------ */

struct leases *leases_new(const struct lease_plan *plan, const char *instance,
                          int64_t (*wall_us)(void))
{
    struct leases *l = calloc(1, sizeof(*l));

    if (!l)
        return NULL;
    l->plan = plan;
    l->total = total_of(plan);
    l->wall_us = wall_us;
    l->instance = strdup(instance);
    if (!l->instance) {
        free(l);
        return NULL;
    }
    pthread_mutex_init(&l->lock, NULL);
    return l;
}

void leases_free(struct leases *l)
{
    if (!l)
        return;
    pthread_mutex_destroy(&l->lock);
    free(l->instance);
    free(l);
}

const char *leases_instance(const struct leases *l)
{
    return l->instance;
}

char *lease_session_name(const struct lease_plan *plan, const char *thread, const char *instance,
                         char out[static LEASE_NAME_MAX])
{
    size_t len = strlen(instance);

    snprintf(out, LEASE_NAME_MAX, "daybook-%s/%.8s@%s", plan->schema, thread,
             instance + (len > NAME_TAIL ? len - NAME_TAIL : 0));
    return out;
}

uint64_t leases_generation(struct leases *l)
{
    pthread_mutex_lock(&l->lock);
    uint64_t generation = l->generation;
    pthread_mutex_unlock(&l->lock);
    return generation;
}

bool leases_held(struct leases *l, int lease, int64_t *version_out)
{
    assert(lease >= 0 && lease < l->total);
    pthread_mutex_lock(&l->lock);
    bool held = l->held[lease];
    if (held && version_out)
        *version_out = l->version[lease];
    pthread_mutex_unlock(&l->lock);
    return held;
}

uint64_t leases_mask(struct leases *l)
{
    uint64_t mask = 0;

    pthread_mutex_lock(&l->lock);
    for (int i = 0; i < MIN(l->total, 64); i++)
        mask |= (uint64_t)l->held[i] << i;
    pthread_mutex_unlock(&l->lock);
    return mask;
}

/* --- the tick -------------------------------------------------------------------------------- */

/* What the table says, and what we make of it. */
struct picture {
    const char *members[MEMBERS_MAX];
    size_t nmembers;
    int total;
    bool mine[LEASES_MAX], live[LEASES_MAX];
    int64_t version[LEASES_MAX];
    bool take[LEASES_MAX], give[LEASES_MAX];
    bool held[LEASES_MAX]; /* after this tick */
    struct arena *arena;
};

static enum err read_members(void *ctx, const PGresult *res)
{
    struct picture *p = ctx;

    for (int i = 0; i < PQntuples(res) && p->nmembers < MEMBERS_MAX; i++) {
        p->members[p->nmembers] = arena_strdup(p->arena, PQgetvalue(res, i, 0));
        if (!p->members[p->nmembers++])
            return ERR_RESOURCE_EXHAUSTED;
    }
    return ERR_OK;
}

static enum err read_leases(void *ctx, const PGresult *res)
{
    struct picture *p = ctx;
    struct db_row row = { .res = res };

    for (; row.row < PQntuples(res); row.row++) {
        int shard = db_row_i32(&row, "shard");
        if (row.bad || shard < 0 || shard >= p->total)
            return ERR_INTERNAL;
        p->version[shard] = db_row_i64(&row, "version");
        p->mine[shard] = db_row_bool(&row, "mine");
        p->live[shard] = db_row_bool(&row, "live");
    }
    return row.bad ? ERR_INTERNAL : ERR_OK;
}

/* Rows of a taking: these are held. */
static enum err read_taken(void *ctx, const PGresult *res)
{
    struct picture *p = ctx;
    struct db_row row = { .res = res };

    for (; row.row < PQntuples(res); row.row++) {
        int shard = db_row_i32(&row, "shard");
        int64_t version = db_row_i64(&row, "version");
        if (row.bad || shard < 0 || shard >= p->total)
            return ERR_INTERNAL;
        p->held[shard] = true;
        p->version[shard] = version;
    }
    return ERR_OK;
}

/* Rows of a giving: how many. */
static enum err count_given(void *ctx, const PGresult *res)
{
    *(int *)ctx += PQntuples(res);
    return ERR_OK;
}

static enum err queue_beat(struct leases *l, struct db *db)
{
    const char *beat[] = { l->instance, TTL_TEXT };

    enum err e = db_queue(db, of_schema(l, &sql_lease_guard), NULL);
    if (!e)
        e = db_queue(db, of_schema(l, &sql_lease_renew), beat);
    return e ? e : db_queue(db, of_schema(l, &sql_lease_member_beat), beat);
}

/* In a transaction of its own: whatever comes after it, what we hold stays ours. Others' leases are
 * looked at by every tick, ours are written by every second one. */
static enum err renew(struct leases *l, struct db *db, struct picture *p, bool must_write,
                      int64_t deadline_us)
{
    const char *who[] = { l->instance };

    enum err e = db_begin(db, NULL, deadline_us);
    if (!e && must_write)
        e = queue_beat(l, db);
    if (!e)
        e = db_queue_check(db, of_schema(l, &sql_lease_members), NULL, read_members, p);
    if (!e)
        e = db_queue_check(db, of_schema(l, &sql_leases), who, read_leases, p);
    if (!e)
        e = db_commit(db);
    if (!e && p->nmembers == 0)
        e = ERR_INTERNAL;
    return e;
}

/* What is wanted, by the spread, and what of it is held. Returns whether there is something to take
 * or to give. */
static bool compare(struct leases *l, struct picture *p)
{
    int owner[LEASES_MAX];
    bool differs = false;

    lease_spread(l->plan, p->members, p->nmembers, owner);
    for (int i = 0; i < p->total; i++) {
        bool wanted = strcmp(p->members[owner[i]], l->instance) == 0;
        bool is_mine = p->mine[i] && p->live[i];
        p->held[i] = wanted && is_mine;
        p->take[i] = wanted && !p->live[i];
        p->give[i] = !wanted && is_mine;
        differs = differs || p->take[i] || p->give[i];
    }
    return differs;
}

/* Params of a statement about those leases. False: there are none. */
static bool list_params(struct columns *k, const bool list[static LEASES_MAX], const char **params)
{
    columns_init(k, 1);
    for (int i = 0; i < LEASES_MAX; i++)
        if (list[i])
            columns_i64(k, i);
    return k->rows && columns_params(k, params) == ERR_OK;
}

static enum err queue_take(struct leases *l, struct db *db, struct picture *p)
{
    CLEANUP(columns_fini) struct columns k = { 0 };
    const char *params[] = { l->instance, NULL, TTL_TEXT };

    return list_params(&k, p->take, &params[1])
               ? db_queue_check(db, of_schema(l, &sql_lease_take), params, read_taken, p)
               : ERR_OK;
}

static enum err queue_give(struct leases *l, struct db *db, const bool list[static LEASES_MAX],
                           int *given_out)
{
    CLEANUP(columns_fini) struct columns k = { 0 };
    const char *params[] = { l->instance, NULL };

    return list_params(&k, list, &params[1])
               ? db_queue_check(db, of_schema(l, &sql_lease_give), params, count_given, given_out)
               : ERR_OK;
}

static enum err exchange(struct leases *l, struct db *db, struct picture *p, int64_t deadline_us)
{
    int given = 0;

    enum err e = db_begin(db, NULL, deadline_us);
    if (!e)
        e = db_queue(db, of_schema(l, &sql_lease_guard), NULL);
    if (!e)
        e = queue_take(l, db, p);
    if (!e)
        e = queue_give(l, db, p->give, &given);
    return e ? e : db_commit(db);
}

/* Those that are over and could not be taken, since their last owner sleeps on them. */
static enum err oust(const struct leases *l, struct db *db, struct picture *p, int64_t deadline_us)
{
    CLEANUP(columns_fini) struct columns k = { 0 };
    CLEANUP(db_result_clear) PGresult *res = NULL;
    bool stuck[LEASES_MAX];
    const char *params[1];

    for (int i = 0; i < LEASES_MAX; i++)
        stuck[i] = p->take[i] && !p->held[i];
    if (!list_params(&k, stuck, params))
        return ERR_OK;
    enum err e = db_begin(db, NULL, deadline_us);
    if (!e)
        e = db_exec(db, of_schema(l, &sql_lease_oust), params, &res);
    if (!e)
        e = db_commit(db);
    if (e)
        return e;
    struct db_row row = { .res = res };
    if (db_row_i64(&row, "ousted"))
        log_warn("lease.oust", "an owner sleeps in a transaction: its sessions are ended", NULL);
    return ERR_OK;
}

/* The new picture for the other threads. */
static void publish(struct leases *l, const bool held[static LEASES_MAX],
                    const int64_t version[static LEASES_MAX])
{
    bool changed = false;

    pthread_mutex_lock(&l->lock);
    for (int i = 0; i < l->total; i++) {
        if (held[i] == l->held[i] && (!held[i] || version[i] == l->version[i]))
            continue;
        changed = true;
        l->held[i] = held[i];
        l->version[i] = version[i];
    }
    l->generation += changed;
    pthread_mutex_unlock(&l->lock);
}

static void forget_expired(struct leases *l)
{
    static const bool none[LEASES_MAX];

    if (clock_monotonic_us() - l->renewed_us > LEASE_TTL_MS * MSEC_US)
        publish(l, none, l->version);
}

enum err leases_tick(struct leases *l, struct db *db, int64_t deadline_us)
{
    CLEANUP(arena_freep) struct arena *arena = arena_new(256 * KIB);
    struct picture p = { .total = l->total, .arena = arena };
    int64_t asked_us = clock_monotonic_us();

    if (!arena)
        return ERR_RESOURCE_EXHAUSTED;
    bool must_write = !l->renewed_us || asked_us - l->renewed_us >= RENEW_US;
    enum err e = renew(l, db, &p, must_write, deadline_us);
    if (e) {
        db_rollback(db);
        forget_expired(l);
        return e;
    }
    if (must_write)
        l->renewed_us = asked_us;
    bool differs = compare(l, &p);
    publish(l, p.held, p.version); /* before giving: nobody begins to fire what is to be given */
    if (!differs)
        return ERR_OK;
    e = exchange(l, db, &p, deadline_us);
    if (!e) {
        publish(l, p.held, p.version);
        e = oust(l, db, &p, deadline_us);
    }
    db_rollback(db);
    return e;
}

/* Gives back what no firing holds any more; left_out: what remains. */
static enum err give_all(struct leases *l, struct db *db, int64_t deadline_us, bool *left_out)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    const char *who[] = { l->instance };
    bool all[LEASES_MAX];
    int given = 0;

    memset(all, true, sizeof(all));
    enum err e = db_begin(db, NULL, deadline_us);
    if (!e)
        e = queue_give(l, db, all, &given);
    if (!e)
        e = db_queue(db, of_schema(l, &sql_lease_member_leave), who);
    if (!e)
        e = db_exec(db, of_schema(l, &sql_leases), who, &res);
    if (!e)
        e = db_commit(db);
    *left_out = false;
    for (struct db_row row = { .res = res }; !e && row.row < PQntuples(res); row.row++)
        *left_out = *left_out || db_row_bool(&row, "mine");
    return e;
}

void leases_leave(struct leases *l, struct db *db)
{
    static const bool none[LEASES_MAX];
    int64_t until_us = clock_monotonic_us() + LEAVE_LIMIT_US;
    const struct timespec pause = { .tv_nsec = LEAVE_PAUSE_US * 1000 };
    bool left = true;
    enum err e = ERR_OK;

    publish(l, none, l->version);
    while (!e && left && clock_monotonic_us() < until_us) {
        e = give_all(l, db, until_us, &left);
        if (!e && left)
            nanosleep(&pause, NULL);
    }
    if (e || left) /* they end by themselves */
        log_warn("lease.leave_failed", "leases could not be given back", "err", err_name(e), NULL);
    db_rollback(db);
}

/* --- fence ----------------------------------------------------------------------------------- */

static enum err check_fence(void *ctx, const PGresult *res)
{
    struct db_row row = { .res = res };
    int64_t held = db_row_i64(&row, "held"), ahead_us = db_row_i64(&row, "ahead_us");

    if (ahead_us > SKEW_MAX_US || ahead_us < -SKEW_MAX_US) {
        char text[24];
        snprintf(text, sizeof(text), "%" PRId64, ahead_us);
        log_warn("clock.refused", "the database's clock is too far from ours to act by it",
                 "ahead_us", text, NULL);
        return ERR_UNAVAILABLE;
    }
    return row.bad || held != (intptr_t)ctx ? ERR_CANCELED : ERR_OK;
}

enum err leases_queue_fence(struct leases *l, struct db *db, const int *list, size_t n)
{
    CLEANUP(columns_fini) struct columns k = { 0 };
    const char *params[4] = { NULL };
    char wall[24];

    columns_init(&k, 2);
    for (size_t i = 0; i < n; i++) {
        int64_t version;
        if (!leases_held(l, list[i], &version))
            return ERR_CANCELED;
        columns_i64(&k, list[i]);
        columns_i64(&k, version);
    }
    params[2] = l->instance;
    if (l->wall_us) {
        snprintf(wall, sizeof(wall), "%" PRId64, l->wall_us());
        params[3] = wall;
    }
    enum err e = columns_params(&k, params);
    if (!e)
        e = db_queue(db, of_schema(l, &sql_lease_guard), NULL);
    return e ? e
             : db_queue_check(db, of_schema(l, &sql_lease_fence), params, check_fence,
                              (void *)(intptr_t)n);
}
