/*
 * list_versions.c - see list_versions.h.
 */
#include "services/reminders/list_versions.h"

#include <pthread.h>
#include <stdlib.h>

#include "common/clock.h"
#include "services/reminders/sql.h"

#define TRUST_US SECOND_US    /* how long an answer of PostgreSQL holds */
#define KNOWN_SLOTS 8192      /* people whose version is remembered; a power of two */
#define COMPANY_SLOTS 256     /* companies whose questions are counted; a power of two */
#define ROWS_PER_QUESTION 100 /* that an answer may have more, for the price of one question */
#define LISTS_MAX (KNOWN_SLOTS / 2) /* of a larger company, answers would push each other out */

struct known {
    struct id tenant, employee;
    int64_t version;
    int64_t at_us; /* 0 = nothing is known */
};

struct company {
    struct id tenant;
    int64_t since_us; /* of this second */
    int64_t asked;
    int64_t lists;
};

struct list_versions {
    pthread_mutex_t lock;
    struct known known[KNOWN_SLOTS];         /* by hash; a collision only forgets */
    struct company companies[COMPANY_SLOTS]; /* by hash; a collision only counts anew */
};

struct list_versions *list_versions_new(void)
{
    struct list_versions *v = calloc(1, sizeof(*v));

    if (v)
        pthread_mutex_init(&v->lock, NULL);
    return v;
}

void list_versions_free(struct list_versions *v)
{
    if (!v)
        return;
    pthread_mutex_destroy(&v->lock);
    free(v);
}

static struct known *slot_of(struct list_versions *v, struct id tenant, struct id employee)
{
    return &v->known[(id_hash(tenant) * 31 + id_hash(employee)) & (KNOWN_SLOTS - 1)];
}

static bool is_of(const struct known *k, struct id tenant, struct id employee)
{
    return id_equal(k->employee, employee) && id_equal(k->tenant, tenant);
}

void list_versions_note(struct list_versions *v, struct id tenant, struct id employee,
                        int64_t version, int64_t asked_us)
{
    pthread_mutex_lock(&v->lock);
    struct known *k = slot_of(v, tenant, employee);
    if (!is_of(k, tenant, employee) || k->at_us < asked_us)
        *k = (struct known){ tenant, employee, version, asked_us };
    pthread_mutex_unlock(&v->lock);
}

void list_versions_forget(struct list_versions *v, struct id tenant, struct id employee)
{
    pthread_mutex_lock(&v->lock);
    struct known *k = slot_of(v, tenant, employee);
    if (is_of(k, tenant, employee))
        k->at_us = 0;
    pthread_mutex_unlock(&v->lock);
}

bool list_versions_recall(struct list_versions *v, struct id tenant, struct id employee,
                          int64_t *version_out)
{
    int64_t oldest_us = clock_monotonic_us() - TRUST_US;

    pthread_mutex_lock(&v->lock);
    const struct known *k = slot_of(v, tenant, employee);
    bool known = k->at_us != 0 && k->at_us > oldest_us && is_of(k, tenant, employee);
    if (known)
        *version_out = k->version;
    pthread_mutex_unlock(&v->lock);
    return known;
}

/* --- asking ---------------------------------------------------------------------------------- */

bool list_versions_worth_all(int64_t asked, int64_t lists)
{
    return asked > 1 && lists <= LISTS_MAX && asked * ROWS_PER_QUESTION > lists;
}

static struct company *company_of(struct list_versions *v, struct id tenant)
{
    struct company *c = &v->companies[id_hash(tenant) & (COMPANY_SLOTS - 1)];

    if (!id_equal(c->tenant, tenant))
        *c = (struct company){ .tenant = tenant, .lists = -1 };
    return c;
}

/* Counts the question; true: it is to be for all. */
static bool count_question(struct list_versions *v, struct id tenant, int64_t now_us)
{
    pthread_mutex_lock(&v->lock);
    struct company *c = company_of(v, tenant);
    if (now_us - c->since_us > SECOND_US) {
        c->since_us = now_us;
        c->asked = 0;
    }
    c->asked++;
    bool all = list_versions_worth_all(c->asked, c->lists);
    if (all)
        c->asked = 0; /* one asks; whoever comes before the answer asks for one */
    pthread_mutex_unlock(&v->lock);
    return all;
}

static void note_lists(struct list_versions *v, struct id tenant, int64_t lists)
{
    pthread_mutex_lock(&v->lock);
    company_of(v, tenant)->lists = lists;
    pthread_mutex_unlock(&v->lock);
}

static enum err ask_one(struct list_versions *v, struct db *db, struct id tenant,
                        struct id employee, struct arena *a, int64_t *version_out)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    const char *const params[] = { db_text_id(a, tenant), db_text_id(a, employee) };
    int64_t asked_us = clock_monotonic_us();

    if (!params[0] || !params[1])
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = db_exec(db, &sql_list_version, params, &res);
    if (e)
        return e;
    struct db_row row = { .res = res };
    int64_t version = PQntuples(res) ? db_row_i64(&row, "version") : 0;
    if (row.bad)
        return ERR_INTERNAL;
    list_versions_note(v, tenant, employee, version, asked_us);
    *version_out = version;
    return ERR_OK;
}

static enum err ask_all(struct list_versions *v, struct db *db, struct id tenant,
                        struct id employee, struct arena *a, int64_t *version_out)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    const char *const params[] = { db_text_id(a, tenant), db_text_i64(a, LISTS_MAX + 1) };
    int64_t asked_us = clock_monotonic_us();

    if (!params[0] || !params[1])
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = db_exec(db, &sql_list_versions, params, &res);
    if (e)
        return e;
    note_lists(v, tenant, PQntuples(res));
    if (PQntuples(res) > LISTS_MAX)
        return ask_one(v, db, tenant, employee, a, version_out);
    *version_out = 0;
    for (struct db_row row = { .res = res }; row.row < PQntuples(res); row.row++) {
        struct id whose = db_row_id(&row, "employee_id");
        int64_t version = db_row_i64(&row, "version");
        if (row.bad)
            return ERR_INTERNAL;
        list_versions_note(v, tenant, whose, version, asked_us);
        if (id_equal(whose, employee))
            *version_out = version;
    }
    return ERR_OK;
}

enum err list_versions_ask(struct list_versions *v, struct db *db, struct id tenant,
                           struct id employee, struct arena *a, int64_t *version_out)
{
    if (count_question(v, tenant, clock_monotonic_us()))
        return ask_all(v, db, tenant, employee, a, version_out);
    return ask_one(v, db, tenant, employee, a, version_out);
}
