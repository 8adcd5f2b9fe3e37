/*
 * task_list.c - see task_list.h.
 */
#include "services/reminders/task_list.h"

#include <pthread.h>
#include <sodium.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/columns.h"
#include "services/reminders/list_versions.h"
#include "services/reminders/sql.h"

#define WAITING_SLOTS 8192        /* people whose list waits to be built; a power of two */
#define BUILD_PERIOD_US SECOND_US /* a person's list is built ahead no more often */
#define KEPT_SLOTS 512            /* lists in memory while the cache is away; a power of two */
#define KEPT_US (2 * SECOND_US)
#define FLIGHT_US (2 * SECOND_US) /* how long others wait for whoever builds a list */
#define LIST_TTL_MS (10 * 60 * 1000)
#define LIST_TASKS_MAX 1000 /* that list_build.sql reads */
#define FULL_LIST_US (5 * SECOND_US)
#define REFRESH_LIMIT_US (2 * SECOND_US)
#define REFRESH_ARENA (8 * MIB)
#define MAGIC "DTL1"
#define CHECKSUM_LEN 16
#define HEADER_LEN (4 + 16 + 16 + 4)

static struct metric list_reads = {
    .name = "daybook_task_list_reads_total",
    .type = METRIC_COUNTER,
    .help = "Daily lists served: hit, miss, stale, bad (a cached value that was not that list).",
    .labels = { "outcome" },
};

static struct metric lists_waiting = {
    .name = "daybook_task_lists_waiting",
    .type = METRIC_GAUGE,
    .help = "Daily lists that changed in this process and wait to be built ahead of their readers.",
};

struct waiting {
    struct id tenant, employee;
    int64_t since_us;      /* monotonic; 0 = built, or being built */
    int64_t not_before_us; /* the next time it may be built */
};

/* A list for as long as the cache is away, as bytes of the cache. */
struct kept {
    struct list_key key;
    int64_t version;
    uint8_t *data;
    size_t len;
    int64_t at_us;          /* monotonic; 0 = none */
    int64_t built_until_us; /* somebody builds it now, by then at the latest; 0 = nobody */
};

struct task_lists {
    pthread_mutex_t lock;
    pthread_cond_t built;
    struct kept kept[KEPT_SLOTS]; /* by hash; a collision only forgets */
    struct list_versions *versions;
    struct waiting waiting[WAITING_SLOTS]; /* by hash; a collision leaves it to the next reader */
    size_t nwaiting;
    bool ahead; /* a refresher builds what waits */
    struct bell bell;
};

struct task_lists *task_lists_new(bool ahead)
{
    struct task_lists *t = calloc(1, sizeof(*t));

    if (!t)
        return NULL;
    t->versions = list_versions_new();
    if (!t->versions) {
        free(t);
        return NULL;
    }
    t->ahead = ahead;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&t->built, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&t->lock, NULL);
    bell_init(&t->bell);
    metric_register(&list_reads);
    metric_register(&lists_waiting);
    metric_set(&lists_waiting, 0, NULL);
    return t;
}

void task_lists_free(struct task_lists *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < KEPT_SLOTS; i++)
        free(t->kept[i].data);
    list_versions_free(t->versions);
    bell_fini(&t->bell);
    pthread_cond_destroy(&t->built);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

/* --- lists that wait ------------------------------------------------------------------------- */

static size_t hash_of(struct id tenant, struct id employee)
{
    return id_hash(tenant) * 31 + id_hash(employee);
}

/* Under the lock, as the next. */
static void count_waiting(struct task_lists *t, bool one_more)
{
    t->nwaiting += one_more ? 1 : (size_t)-1;
    metric_set(&lists_waiting, (double)t->nwaiting, NULL);
}

static void let_wait(struct task_lists *t, struct id tenant, struct id employee)
{
    struct waiting *w = &t->waiting[hash_of(tenant, employee) & (WAITING_SLOTS - 1)];
    bool same = id_equal(w->tenant, tenant) && id_equal(w->employee, employee);

    if (!t->ahead || w->since_us)
        return; /* nobody would build it; it waits already, or somebody else does */
    if (!same)
        *w = (struct waiting){ .tenant = tenant, .employee = employee };
    w->since_us = clock_monotonic_us();
    count_waiting(t, true);
}

void task_lists_forget(struct task_lists *t, struct id tenant, struct id employee)
{
    list_versions_forget(t->versions, tenant, employee);
    pthread_mutex_lock(&t->lock);
    let_wait(t, tenant, employee);
    pthread_mutex_unlock(&t->lock);
}

void task_lists_ring(struct task_lists *t)
{
    bell_ring(&t->bell);
}

void task_lists_wait(struct task_lists *t, int64_t wait_us)
{
    bell_wait(&t->bell, wait_us);
}

/* --- bytes of the cache ---------------------------------------------------------------------- */

char *list_key_text(const struct list_key *key, char out[static LIST_KEY_MAX])
{
    char tenant[ID_TEXT_MAX], employee[ID_TEXT_MAX], day[DATE_TEXT_MAX];

    snprintf(out, LIST_KEY_MAX, "{%s}:tasks:%s:%s", id_text(key->tenant, tenant),
             id_text(key->employee, employee), date_format(key->day, day));
    return out;
}

static void write_header(const struct list_key *key, uint8_t out[static HEADER_LEN])
{
    int32_t day = date_number(key->day);

    memcpy(out, MAGIC, 4);
    memcpy(out + 4, key->tenant.b, 16);
    memcpy(out + 20, key->employee.b, 16);
    for (int i = 0; i < 4; i++)
        out[36 + i] = (uint8_t)((uint32_t)day >> (24 - 8 * i));
}

static void checksum(const uint8_t *data, size_t len, uint8_t out[static CHECKSUM_LEN])
{
    crypto_generichash(out, CHECKSUM_LEN, data, len, NULL, 0);
}

enum err list_encode(const struct list_key *key, const PbDailyTaskList *list, struct arena *a,
                     uint8_t **data_out, size_t *len_out)
{
    uint8_t *packed;
    size_t len;

    enum err e = wire_pack(&list->base, a, &packed, &len);
    if (e)
        return e;
    uint8_t *data = arena_alloc(a, HEADER_LEN + len + CHECKSUM_LEN);
    if (!data)
        return ERR_RESOURCE_EXHAUSTED;
    write_header(key, data);
    if (len)
        memcpy(data + HEADER_LEN, packed, len);
    checksum(data, HEADER_LEN + len, data + HEADER_LEN + len);
    *data_out = data;
    *len_out = HEADER_LEN + len + CHECKSUM_LEN;
    return ERR_OK;
}

enum err list_decode(const struct list_key *key, int64_t version, const uint8_t *data, size_t len,
                     struct arena *a, PbDailyTaskList **list_out)
{
    uint8_t header[HEADER_LEN], sum[CHECKSUM_LEN];
    char employee[ID_TEXT_MAX], day[DATE_TEXT_MAX];
    ProtobufCMessage *message;
    struct wire_fault fault;

    if (len < HEADER_LEN + CHECKSUM_LEN)
        return ERR_DATA_LOSS;
    write_header(key, header);
    checksum(data, len - CHECKSUM_LEN, sum);
    if (memcmp(data, header, HEADER_LEN) != 0 ||
        memcmp(data + len - CHECKSUM_LEN, sum, CHECKSUM_LEN) != 0)
        return ERR_DATA_LOSS;
    enum err e =
        wire_unpack(&daybook__reminders__v1__daily_task_list__descriptor, data + HEADER_LEN,
                    len - HEADER_LEN - CHECKSUM_LEN, &wire_limits_internal, a, &message, &fault);
    if (e)
        return e == ERR_INVALID_ARGUMENT ? ERR_DATA_LOSS : e;
    PbDailyTaskList *list = (PbDailyTaskList *)message;
    if (list->version != version ||
        strcmp(list->employee_id, id_text(key->employee, employee)) != 0 ||
        strcmp(list->date, date_format(key->day, day)) != 0)
        return ERR_DATA_LOSS;
    *list_out = list;
    return ERR_OK;
}

/* --- building -------------------------------------------------------------------------------- */

static enum err read_list(const PGresult *res, PbDailyTaskList *list, struct arena *a)
{
    struct db_row row = { .res = res };

    if (PQntuples(res) == 0)
        return ERR_INTERNAL;
    list->version = db_row_i64(&row, "_version");
    if (row.bad)
        return ERR_INTERNAL;
    if (db_row_is_null(&row, "kind")) /* no task: one row that carries the version */
        return ERR_OK;
    return record_read_all(res, &daybook__reminders__v1__daily_task__descriptor, a, &list->n_tasks,
                           &list->tasks);
}

enum err list_build(struct db *db, const struct list_key *key, const struct tz *tz, int64_t now_us,
                    struct arena *a, PbDailyTaskList **list_out)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    char employee[ID_TEXT_MAX], day[DATE_TEXT_MAX];
    PbDailyTaskList *list = wire_new(&daybook__reminders__v1__daily_task_list__descriptor, a);
    const char *const params[] = {
        db_text_id(a, key->tenant),
        db_text_id(a, key->employee),
        db_text_time(a, tz_instant(tz, key->day, 0)),
        db_text_time(a, tz_instant(tz, date_add(key->day, 1), 0)),
        db_text_time(a, now_us),
    };

    for (size_t i = 0; i < ARRAY_LEN(params); i++)
        if (!params[i])
            return ERR_RESOURCE_EXHAUSTED;
    if (!list)
        return ERR_RESOURCE_EXHAUSTED;
    list->employee_id = arena_strdup(a, id_text(key->employee, employee));
    list->date = arena_strdup(a, date_format(key->day, day));
    list->built_at = wire_time(a, now_us);
    if (!list->employee_id || !list->date || !list->built_at)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = db_exec(db, &sql_list_build, params, &res);
    if (!e)
        e = read_list(res, list, a);
    if (!e)
        *list_out = list;
    return e;
}

/* --- while the cache is away (F27) ------------------------------------------------------------ */

/* Under the lock, as the next. */
static struct kept *kept_slot(struct task_lists *t, const struct list_key *key)
{
    size_t hash = hash_of(key->tenant, key->employee) + (size_t)date_number(key->day);
    return &t->kept[hash & (KEPT_SLOTS - 1)];
}

static bool is_list(const struct kept *k, const struct list_key *key)
{
    return id_equal(k->key.tenant, key->tenant) && id_equal(k->key.employee, key->employee) &&
           date_number(k->key.day) == date_number(key->day);
}

static enum err find_kept(struct task_lists *t, const struct list_key *key, struct arena *a,
                          PbDailyTaskList **list_out)
{
    int64_t version = 0;
    uint8_t *data = NULL;
    size_t len = 0;

    pthread_mutex_lock(&t->lock);
    const struct kept *k = kept_slot(t, key);
    if (k->at_us && is_list(k, key) && clock_monotonic_us() - k->at_us < KEPT_US) {
        data = arena_alloc(a, k->len);
        len = k->len;
        version = k->version;
        if (data)
            memcpy(data, k->data, len);
    }
    pthread_mutex_unlock(&t->lock);
    return data && !list_decode(key, version, data, len, a, list_out) ? ERR_OK : ERR_NOT_FOUND;
}

/* Keeps what the cache did not take; NULL data: nothing, and what was kept is forgotten. Whoever
 * waits for the list looks again. */
static void keep(struct task_lists *t, const struct list_key *key, int64_t version,
                 const uint8_t *data, size_t len)
{
    uint8_t *copy = data ? malloc(len) : NULL;

    if (copy)
        memcpy(copy, data, len);
    pthread_mutex_lock(&t->lock);
    struct kept *k = kept_slot(t, key);
    if (copy || is_list(k, key)) {
        free(k->data);
        *k = (struct kept){ *key, version, copy, len, copy ? clock_monotonic_us() : 0, 0 };
    }
    pthread_cond_broadcast(&t->built);
    pthread_mutex_unlock(&t->lock);
}

static bool is_in_flight(const struct kept *k, const struct list_key *key)
{
    return is_list(k, key) && k->built_until_us > clock_monotonic_us();
}

/* True: the caller is to build it, and to end that by keep(). False: somebody was doing so, and has
 * ended, perhaps since the caller looked at looked_us, or takes too long. */
static bool may_build(struct task_lists *t, const struct list_key *key, int64_t looked_us,
                      int64_t deadline_us)
{
    pthread_mutex_lock(&t->lock);
    struct kept *k = kept_slot(t, key);
    bool mine = !is_in_flight(k, key) && !(is_list(k, key) && k->at_us >= looked_us);
    while (!mine && is_in_flight(k, key) && clock_monotonic_us() < deadline_us) {
        int64_t until_us = MIN(k->built_until_us, deadline_us);
        struct timespec until = { .tv_sec = (time_t)(until_us / SECOND_US),
                                  .tv_nsec = (long)(until_us % SECOND_US) * 1000 };
        pthread_cond_timedwait(&t->built, &t->lock, &until);
    }
    if (mine) {
        free(k->data);
        *k = (struct kept){ .key = *key, .built_until_us = clock_monotonic_us() + FLIGHT_US };
    }
    pthread_mutex_unlock(&t->lock);
    return mine;
}

/* --- serving --------------------------------------------------------------------------------- */

static void count_read(const char *outcome)
{
    metric_add(&list_reads, 1, (const char *const[]){ outcome });
}

/* ERR_OK: a list as whole as it was written, of whatever age. ERR_NOT_FOUND: none. ERR_UNAVAILABLE:
 * no cache, or it is away. */
static enum err find_cached(struct cache *cache, const struct list_key *key, struct arena *a,
                            PbDailyTaskList **list_out)
{
    char text[LIST_KEY_MAX];
    int64_t version;
    uint8_t *data;
    size_t len;

    if (!cache)
        return ERR_UNAVAILABLE;
    enum err e = cache_get_versioned(cache, list_key_text(key, text), a, &version, &data, &len);
    if (e)
        return e == ERR_NOT_FOUND ? e : ERR_UNAVAILABLE;
    e = list_decode(key, version, data, len, a, list_out);
    if (e != ERR_DATA_LOSS)
        return e;
    count_read("bad");
    log_warn("list.bad_value", "a cached list was not what its key says; it is built anew", NULL);
    if (cache_delete(cache, text))
        log_debug("list.delete_failed", "the bad value could not be deleted", NULL);
    return ERR_NOT_FOUND;
}

/* What cannot be stored now is stored by the refresher or by the next reader, and kept till then.
 * Whoever waits for the list looks again in any case. */
static bool store(struct task_lists *t, struct cache *cache, const struct list_key *key,
                  const PbDailyTaskList *list, struct arena *a)
{
    char text[LIST_KEY_MAX];
    uint8_t *data;
    size_t len;

    if (list_encode(key, list, a, &data, &len)) {
        keep(t, key, 0, NULL, 0);
        return false;
    }
    enum err e = cache ? cache_set_versioned(cache, list_key_text(key, text), list->version, data,
                                             len, LIST_TTL_MS)
                       : ERR_UNAVAILABLE;
    bool stored = e == ERR_OK || e == ERR_ABORTED; /* a newer one is there */
    keep(t, key, list->version, stored ? NULL : data, len);
    return stored;
}

/* Is the cached list the newest? Compares with what was learnt within the last second, else asks.
 */
static enum err judge(struct task_lists *t, struct db *db, const struct list_key *key,
                      const PbDailyTaskList *list, struct arena *a, bool *right_out)
{
    int64_t version;

    *right_out = true;
    if (list_versions_recall(t->versions, key->tenant, key->employee, &version) &&
        version == list->version)
        return ERR_OK;
    enum err e = list_versions_ask(t->versions, db, key->tenant, key->employee, a, &version);
    *right_out = !e && version == list->version;
    return e;
}

/* old: what the cache has; NULL: nothing, or it is away. */
static enum err serve_anew(struct task_lists *t, struct db *db, struct cache *cache,
                           const struct list_key *key, const struct tz *tz, int64_t now_us,
                           const PbDailyTaskList *old, struct arena *a, PbDailyTaskList **list_out)
{
    char text[LIST_KEY_MAX];
    int64_t asked_us = clock_monotonic_us();

    enum err e = list_build(db, key, tz, now_us, a, list_out);
    if (e)
        return e;
    list_versions_note(t->versions, key->tenant, key->employee, (*list_out)->version, asked_us);
    /* A cached version from a future that never was (a restored database) would keep all others
     * out. */
    if (old && old->version >= (*list_out)->version &&
        cache_delete(cache, list_key_text(key, text)))
        return ERR_OK;
    (void)store(t, cache, key, *list_out, a);
    return ERR_OK;
}

/* Overdue is a matter of time: a list that was built before a due time that has passed since is
 * old, whatever its version. What a full list left out goes to its top when it becomes overdue, and
 * nobody knows when from the list. */
static bool has_aged(const PbDailyTaskList *list, int64_t now_us)
{
    if (list->n_tasks >= LIST_TASKS_MAX && now_us - wire_time_us(list->built_at) >= FULL_LIST_US)
        return true;
    for (size_t i = 0; i < list->n_tasks; i++) {
        const PbDailyTask *task = list->tasks[i];
        if (task->kind == DAYBOOK__REMINDERS__V1__TASK_KIND__TASK_KIND_REMINDER && !task->overdue &&
            !task->done && wire_time_us(task->due_at) <= now_us)
            return true;
    }
    return false;
}

enum err list_get(struct task_lists *t, struct db *db, struct cache *cache,
                  const struct list_key *key, const struct tz *tz, int64_t now_us,
                  int64_t deadline_us, struct arena *a, PbDailyTaskList **list_out,
                  Daybook__Reminders__V1__ListSource *source_out)
{
    PbDailyTaskList *cached = NULL;
    bool right = false, waited = false, mine = false, away;
    enum err e;

    do {
        int64_t looked_us = clock_monotonic_us();
        cached = NULL;
        e = find_cached(cache, key, a, &cached);
        away = e == ERR_UNAVAILABLE;
        if (away)
            e = find_kept(t, key, a, &cached);
        if (e == ERR_OK)
            e = judge(t, db, key, cached, a, &right);
        if (e && e != ERR_NOT_FOUND)
            return e;
        right = right && !has_aged(cached, now_us);
        /* Of many who miss it at once one builds it. */
        if (right || !away || waited)
            break;
        mine = may_build(t, key, looked_us, deadline_us);
        waited = !mine;
    } while (waited);
    if (right) {
        count_read("hit");
        *list_out = cached;
        *source_out = away ? DAYBOOK__REMINDERS__V1__LIST_SOURCE__LIST_SOURCE_MEMORY
                           : DAYBOOK__REMINDERS__V1__LIST_SOURCE__LIST_SOURCE_CACHE;
        return ERR_OK;
    }
    count_read(cached ? "stale" : "miss");
    *source_out = DAYBOOK__REMINDERS__V1__LIST_SOURCE__LIST_SOURCE_DATABASE;
    e = serve_anew(t, db, cache, key, tz, now_us, away ? NULL : cached, a, list_out);
    if (e && mine)
        keep(t, key, 0, NULL, 0);
    return e;
}

/* --- raising versions ------------------------------------------------------------------------ */

static int compare_ids(const void *a, const void *b)
{
    return id_compare(*(const struct id *)a, *(const struct id *)b);
}

enum err lists_queue_bump(struct db *db, struct id tenant, struct id *employees, size_t n)
{
    CLEANUP(db_array_fini) struct db_array people = { 0 };
    char text[ID_TEXT_MAX];
    struct db_param params[2] = { { .value = id_text(tenant, text) } };

    if (n == 0)
        return ERR_OK;
    qsort(employees, n, sizeof(*employees), compare_ids);
    db_array_init(&people, DB_ARRAY_ID);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || !id_equal(employees[i], employees[i - 1]))
            db_array_id(&people, employees[i]);
    enum err e = db_array_param(&people, &params[1]);
    return e ? e : db_queue_params(db, &sql_lists_bump, params, NULL, NULL);
}

/* --- refreshing ------------------------------------------------------------------------------ */

/* A list that may be built now. */
struct candidate {
    struct id tenant, employee;
    int64_t since_us;
    size_t turn; /* within its company */
};

static int by_company(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    int order = id_compare(x->tenant, y->tenant);
    return order ? order : (x->since_us > y->since_us) - (x->since_us < y->since_us);
}

static int by_turn(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->turn != y->turn)
        return x->turn < y->turn ? -1 : 1;
    return (x->since_us > y->since_us) - (x->since_us < y->since_us);
}

/* What waits and may be built, companies taking turns. */
static struct candidate *find_candidates(struct task_lists *t, struct arena *a, size_t *n_out)
{
    int64_t now_us = clock_monotonic_us();
    size_t n = 0;

    pthread_mutex_lock(&t->lock);
    struct candidate *list = arena_array(a, t->nwaiting + 1, sizeof(*list));
    for (size_t i = 0; list && t->nwaiting && i < WAITING_SLOTS; i++) {
        const struct waiting *w = &t->waiting[i];
        if (w->since_us && w->not_before_us <= now_us)
            list[n++] = (struct candidate){ w->tenant, w->employee, w->since_us, 0 };
    }
    pthread_mutex_unlock(&t->lock);
    if (!list)
        return NULL;
    qsort(list, n, sizeof(*list), by_company);
    for (size_t i = 1; i < n; i++)
        if (id_equal(list[i].tenant, list[i - 1].tenant))
            list[i].turn = list[i - 1].turn + 1;
    qsort(list, n, sizeof(*list), by_turn);
    *n_out = n;
    return list;
}

/* What changes from here on lets it wait again. */
static void take(struct task_lists *t, const struct candidate *one)
{
    pthread_mutex_lock(&t->lock);
    struct waiting *w = &t->waiting[hash_of(one->tenant, one->employee) & (WAITING_SLOTS - 1)];
    if (w->since_us && id_equal(w->tenant, one->tenant) && id_equal(w->employee, one->employee)) {
        w->since_us = 0;
        w->not_before_us = clock_monotonic_us() + BUILD_PERIOD_US;
        count_waiting(t, false);
    }
    pthread_mutex_unlock(&t->lock);
}

static void put_back(struct task_lists *t, const struct candidate *one)
{
    pthread_mutex_lock(&t->lock);
    let_wait(t, one->tenant, one->employee);
    pthread_mutex_unlock(&t->lock);
}

static enum err refresh_one(struct task_lists *t, struct db *db, struct cache *cache,
                            const struct directory *dir, const struct candidate *one,
                            struct arena *a)
{
    const struct dir_tenant *tenant = directory_tenant(dir, one->tenant);
    struct list_key key = { .tenant = one->tenant, .employee = one->employee };
    int64_t now_us = clock_now_us(), asked_us = clock_monotonic_us();
    PbDailyTaskList *list;

    if (!tenant)
        return ERR_NOT_FOUND; /* the directory is behind; a reader builds it */
    key.day = tz_date(tenant->calendar->tz, now_us);
    enum err e = db_begin(db, &key.tenant, asked_us + REFRESH_LIMIT_US);
    if (!e)
        e = list_build(db, &key, tenant->calendar->tz, now_us, a, &list);
    if (!e)
        e = db_commit(db);
    if (e)
        return e;
    list_versions_note(t->versions, key.tenant, key.employee, list->version, asked_us);
    return store(t, cache, &key, list, a) ? ERR_OK : ERR_UNAVAILABLE;
}

size_t lists_refresh(struct task_lists *t, struct db *db, struct cache *cache,
                     const struct directory *dir, size_t max)
{
    CLEANUP(arena_freep) struct arena *candidates_arena = arena_new(MIB);
    CLEANUP(arena_freep) struct arena *a = arena_new(REFRESH_ARENA);
    size_t n = 0, done = 0;

    if (!candidates_arena || !a)
        return 0;
    const struct candidate *list = find_candidates(t, candidates_arena, &n);
    enum err e = list ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
    for (size_t i = 0; i < MIN(n, max) && !e; i++) {
        arena_reset(a);
        take(t, &list[i]);
        e = refresh_one(t, db, cache, dir, &list[i], a);
        db_rollback(db); /* of one that failed on its way */
        if (e == ERR_NOT_FOUND) {
            e = ERR_OK;
            continue;
        }
        if (e)
            put_back(t, &list[i]);
        done += !e;
    }
    if (e)
        log_debug("list.refresh_failed", "lists wait to be built", "err", err_name(e), NULL);
    db_rollback(db);
    return done;
}
