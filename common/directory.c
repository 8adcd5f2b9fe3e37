/*
 * directory.c - looking things up in a snapshot, and the process's present snapshot.
 *
 * The present one is swapped under a lock that is held for a few instructions; what a holder sees
 * never changes under him.
 */
#include "common/directory.h"

#include <assert.h>
#include <pthread.h>

#include "common/clock.h"
#include "common/directory_build.h"
#include "common/directory_snapshot.h"

/* A reporting line or a chain of units is never longer; bounds the walk if the data is broken. */
#define CHAIN_MAX 1000

static pthread_mutex_t current_lock = PTHREAD_MUTEX_INITIALIZER;
static const struct directory *current;

/* --- shares ----------------------------------------------------------------------------------- */

/* Snapshots are const to everybody but for the count of shares and the end. */
static struct directory *writable(const struct directory *d)
{
    union {
        const struct directory *given;
        struct directory *own;
    } u = { .given = d };
    return u.own;
}

const struct directory *directory_acquire(void)
{
    pthread_mutex_lock(&current_lock);
    const struct directory *d = current;
    if (d)
        atomic_fetch_add(&writable(d)->shares, 1);
    pthread_mutex_unlock(&current_lock);
    return d;
}

void directory_release(const struct directory *d)
{
    if (d && atomic_fetch_sub(&writable(d)->shares, 1) == 1)
        arena_free(d->arena); /* *d itself lies in it */
}

void directory_releasep(const struct directory **d)
{
    directory_release(*d);
    *d = NULL;
}

int64_t directory_revision(const struct directory *d)
{
    return d->revision;
}

void directory_publish(const struct directory *d)
{
    pthread_mutex_lock(&current_lock);
    const struct directory *old = current;
    current = d;
    pthread_mutex_unlock(&current_lock);
    directory_release(old);
}

void directory_set_for_tests(const struct directory *d)
{
    directory_publish(d);
}

/* --- tables ----------------------------------------------------------------------------------- */

const void *id_table_find(const struct id_table *t, struct id id)
{
    if (!t->slots)
        return NULL;
    for (size_t at = id_hash(id) & t->mask; t->slots[at].item; at = (at + 1) & t->mask)
        if (id_equal(t->slots[at].id, id))
            return t->slots[at].item;
    return NULL;
}

uint64_t text_hash(const char *text)
{
    uint64_t h = UINT64_C(14695981039346656037); /* FNV-1a */
    for (; *text; text++)
        h = (h ^ (uint8_t)*text) * UINT64_C(1099511628211);
    return h;
}

const void *text_table_find(const struct text_table *t, const char *text)
{
    if (!t->slots || !text)
        return NULL;
    for (size_t at = text_hash(text) & t->mask; t->slots[at].item; at = (at + 1) & t->mask)
        if (strcmp(t->slots[at].text, text) == 0)
            return t->slots[at].item;
    return NULL;
}

static const struct snapshot_tenant *find_tenant(const struct directory *d, struct id tenant)
{
    return d ? id_table_find(&d->tenant_table, tenant) : NULL;
}

static const struct dir_unit *find_unit(const struct snapshot_tenant *t, struct id unit)
{
    return t && !id_is_nil(unit) ? id_table_find(&t->units, unit) : NULL;
}

const struct dir_tenant *directory_tenant(const struct directory *d, struct id tenant)
{
    const struct snapshot_tenant *t = find_tenant(d, tenant);
    return t ? &t->tenant : NULL;
}

size_t directory_tenants(const struct directory *d, const struct dir_tenant *const **list_out)
{
    *list_out = d->tenants;
    return d->ntenants;
}

const struct dir_unit *directory_unit(const struct directory *d, struct id tenant, struct id unit)
{
    return find_unit(find_tenant(d, tenant), unit);
}

const struct dir_employee *directory_employee(const struct directory *d, struct id tenant,
                                              struct id employee)
{
    const struct snapshot_tenant *t = find_tenant(d, tenant);
    return t ? id_table_find(&t->employees, employee) : NULL;
}

const struct dir_employee *directory_employee_no(const struct directory *d, struct id tenant,
                                                 const char *employee_no)
{
    const struct snapshot_tenant *t = find_tenant(d, tenant);
    return t ? text_table_find(&t->numbers, employee_no) : NULL;
}

const struct dir_key *directory_key(const struct directory *d, const char *z85)
{
    return d ? text_table_find(&d->keys, z85) : NULL;
}

const struct dir_key *directory_api_key(const struct directory *d, struct id credential)
{
    return d ? id_table_find(&d->api_keys, credential) : NULL;
}

const struct dir_key *directory_calendar_feed(const struct directory *d, struct id credential)
{
    return d ? id_table_find(&d->feeds, credential) : NULL;
}

/* --- the reporting line ----------------------------------------------------------------------- */

bool dir_employee_has_role(const struct dir_employee *e, const char *role)
{
    for (size_t i = 0; i < DIR_ROLES_MAX && e->roles[i]; i++)
        if (strcmp(e->roles[i], role) == 0)
            return true;
    return false;
}

const struct dir_employee *dir_superior_with_role(const struct dir_employee *e,
                                                  const char *const *roles)
{
    int steps = 0;
    for (const struct dir_employee *s = e->superior; s && steps < CHAIN_MAX;
         s = s->superior, steps++)
        for (size_t i = 0; roles[i]; i++)
            if (dir_employee_has_role(s, roles[i]))
                return s;
    return NULL;
}

bool dir_is_superior(const struct dir_employee *boss, const struct dir_employee *e)
{
    int steps = 0;
    for (const struct dir_employee *s = e->superior; s && steps < CHAIN_MAX;
         s = s->superior, steps++)
        if (s == boss || id_equal(s->id, boss->id))
            return true;
    return false;
}

bool dir_unit_is_below(const struct dir_unit *unit, const struct dir_unit *top)
{
    for (int steps = 0; unit && steps < CHAIN_MAX; unit = unit->parent, steps++)
        if (unit == top || id_equal(unit->id, top->id))
            return true;
    return false;
}

/* --- the rule book ---------------------------------------------------------------------------- */

/* The setting of exactly that unit (nil = company) in force at at_us. */
static const struct policy_setting *setting_of(const struct snapshot_tenant *t, size_t index,
                                               struct id unit, int64_t at_us)
{
    for (uint32_t i = t->first[index + 1]; i > t->first[index]; i--) { /* latest first */
        const struct policy_setting *s = &t->settings[i - 1];
        if (s->effective_from_us <= at_us && id_equal(s->unit, unit))
            return s;
    }
    return NULL;
}

/* Two numbers of the company stand in its own record until a policy says otherwise. */
static const char *tenant_value(const struct snapshot_tenant *t, const struct policy_def *def)
{
    if (strcmp(def->key, "timezone") == 0)
        return t->time_zone;
    if (strcmp(def->key, "money_currency") == 0)
        return t->tenant.currency_code;
    return NULL;
}

struct policy_value snapshot_policy(const struct snapshot_tenant *t, const struct dir_unit *unit,
                                    const struct policy_def *def, int64_t at_us)
{
    struct policy_value v = { .def = def, .text = def->default_value, .from_default = true };
    if (!t)
        return v;

    size_t n;
    size_t index = (size_t)(def - policy_all(&n));
    const struct policy_setting *found = NULL;
    if (t->first && t->first[index] < t->first[index + 1]) {
        for (int steps = 0; unit && !found && steps < CHAIN_MAX; unit = unit->parent, steps++)
            found = setting_of(t, index, unit->id, at_us);
        if (!found)
            found = setting_of(t, index, (struct id){ 0 }, at_us);
    }
    const char *own = found ? NULL : tenant_value(t, def);
    if (found || own) {
        v.text = found ? found->value : own;
        v.unit = found ? found->unit : (struct id){ 0 };
        v.from_default = false;
    }
    return v;
}

static const struct policy_def *need_policy(const char *key)
{
    const struct policy_def *def = policy_find(key);
    if (!def) {
        fprintf(stderr, "policy key %s is in no table\n", key);
        abort();
    }
    return def;
}

struct policy_value directory_policy(const struct directory *d, struct id tenant, struct id unit,
                                     const char *key, int64_t at_us)
{
    const struct policy_def *def = need_policy(key);
    const struct snapshot_tenant *t = find_tenant(d, tenant);
    return snapshot_policy(t, find_unit(t, unit), def, at_us);
}

int64_t directory_policy_change(const struct directory *d, struct id tenant, const char *key,
                                int64_t after_us)
{
    size_t n, index = (size_t)(need_policy(key) - policy_all(&n));
    const struct snapshot_tenant *t = find_tenant(d, tenant);

    if (!t || !t->first)
        return INT64_MAX;
    for (uint32_t i = t->first[index]; i < t->first[index + 1]; i++) /* by date */
        if (t->settings[i].effective_from_us > after_us)
            return t->settings[i].effective_from_us;
    return INT64_MAX;
}

/* --- calendars -------------------------------------------------------------------------------- */

static const struct calendar *span_at(const struct calendar_spans *spans, int64_t at_us)
{
    size_t i = spans->n - 1;
    while (i > 0 && spans->list[i].from_us > at_us)
        i--;
    return &spans->list[i].calendar;
}

int64_t directory_calendar_change(const struct directory *d, struct id tenant, int64_t after_us)
{
    const struct snapshot_tenant *t = find_tenant(d, tenant);

    for (size_t i = 0; t && i < t->calendars.n; i++) /* it has the moments of all units */
        if (t->calendars.list[i].from_us > after_us)
            return t->calendars.list[i].from_us;
    return INT64_MAX;
}

const struct calendar *directory_calendar_at(const struct directory *d, struct id tenant,
                                             struct id unit, int64_t at_us)
{
    const struct snapshot_tenant *t = find_tenant(d, tenant);
    if (!t)
        return span_at(&d->fallback, at_us);
    const struct dir_unit *found = find_unit(t, unit);
    if (!found)
        return span_at(&t->calendars, at_us);
    return span_at(&((const struct snapshot_unit *)found)->calendars, at_us);
}
