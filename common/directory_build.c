/*
 * directory_build.c - pieces to a snapshot.
 *
 * What is added waits in lists in a scratch arena; texts go at once into the arena of the snapshot.
 * At the end each company's lists become its tables, and then the pointers between people and units
 * are set, which is why the order of adding does not matter.
 */
#include "common/directory_build.h"

#include <assert.h>

#include "common/clock.h"
#include "common/directory_snapshot.h"

#define SNAPSHOT_BYTES_MAX (1024 * MIB)

struct waiting_unit {
    struct waiting_unit *next;
    struct snapshot_unit *unit;
    struct id parent;
};

struct waiting_employee {
    struct waiting_employee *next;
    struct dir_employee *employee;
    struct id unit, superior;
};

struct waiting_setting {
    struct waiting_setting *next;
    struct policy_setting setting;
};

struct waiting_day {
    struct waiting_day *next;
    int16_t year;
    struct calendar_day day;
};

struct waiting_year {
    struct waiting_year *next;
    int16_t year;
};

struct waiting_tenant {
    struct waiting_tenant *next;
    struct snapshot_tenant *tenant;
    struct waiting_unit *units;
    struct waiting_employee *employees;
    struct waiting_setting *settings; /* the latest in front */
    struct waiting_day *days;
    struct waiting_year *years;
    size_t nunits, nemployees, nsettings, ndays, nyears;
};

struct waiting_key {
    struct waiting_key *next;
    const struct dir_key *key;
};

struct directory_builder {
    struct arena *arena;   /* the snapshot's */
    struct arena *scratch; /* dies with the builder */
    bool failed;
    int64_t revision;
    struct waiting_tenant *tenants, *last;
    struct waiting_key *keys;
    size_t ntenants, nkeys;
};

/* --- collecting ------------------------------------------------------------------------------- */

struct directory_builder *directory_builder_new(void)
{
    struct directory_builder *b = calloc(1, sizeof(*b));
    if (!b)
        return NULL;
    b->arena = arena_new(SNAPSHOT_BYTES_MAX);
    b->scratch = arena_new(SNAPSHOT_BYTES_MAX);
    if (!b->arena || !b->scratch) {
        directory_builder_free(b);
        return NULL;
    }
    return b;
}

void directory_builder_free(struct directory_builder *b)
{
    if (!b)
        return;
    arena_free(b->arena);
    arena_free(b->scratch);
    free(b);
}

void directory_builder_set_revision(struct directory_builder *b, int64_t revision)
{
    b->revision = revision;
}

/* Zeroed memory; when there is none, `failed` is set and the caller drops what he was to add. */
static void *kept(struct directory_builder *b, size_t n, size_t size)
{
    void *p = arena_array(b->arena, n, size);
    b->failed |= !p;
    return p;
}

static void *waiting(struct directory_builder *b, size_t n, size_t size)
{
    void *p = arena_array(b->scratch, n, size);
    b->failed |= !p;
    return p;
}

static const char *kept_text(struct directory_builder *b, const char *text)
{
    char *copy = arena_strdup(b->arena, text ? text : "");
    b->failed |= !copy;
    return copy;
}

/* Rows come company by company, so the last one is nearly always the one. */
static struct waiting_tenant *tenant_of(struct directory_builder *b, struct id tenant)
{
    if (b->last && id_equal(b->last->tenant->tenant.id, tenant))
        return b->last;
    for (struct waiting_tenant *t = b->tenants; t; t = t->next)
        if (id_equal(t->tenant->tenant.id, tenant))
            return b->last = t;
    b->failed = true;
    return NULL;
}

void directory_builder_add_tenant(struct directory_builder *b, struct id tenant, const char *name,
                                  const char *time_zone, const char *currency_code)
{
    struct waiting_tenant *w = waiting(b, 1, sizeof(*w));
    struct snapshot_tenant *t = kept(b, 1, sizeof(*t));
    if (!w || !t)
        return;
    t->tenant.id = tenant;
    t->tenant.name = kept_text(b, name);
    t->time_zone = kept_text(b, time_zone ? time_zone : policy_find("timezone")->default_value);
    t->tenant.currency_code =
        kept_text(b, currency_code ? currency_code : policy_find("money_currency")->default_value);
    w->tenant = t;
    w->next = b->tenants;
    b->tenants = b->last = w;
    b->ntenants++;
}

void directory_builder_add_unit(struct directory_builder *b, struct id tenant,
                                const struct directory_unit_in *unit)
{
    struct waiting_tenant *t = tenant_of(b, tenant);
    struct waiting_unit *w = waiting(b, 1, sizeof(*w));
    struct snapshot_unit *u = kept(b, 1, sizeof(*u));
    if (!t || !w || !u)
        return;
    u->unit.id = unit->id;
    u->unit.code = kept_text(b, unit->code);
    u->unit.name = kept_text(b, unit->name);
    *w = (struct waiting_unit){ .next = t->units, .unit = u, .parent = unit->parent };
    t->units = w;
    t->nunits++;
}

/* Splits a list at its commas into at most max texts, in place. */
static size_t split(char *list, const char **out, size_t max)
{
    size_t n = 0;
    while (list && *list && n < max) {
        out[n++] = list;
        list += strcspn(list, ",");
        if (*list)
            *list++ = '\0';
    }
    return n;
}

void directory_builder_add_employee(struct directory_builder *b, struct id tenant,
                                    const struct directory_employee_in *employee)
{
    struct waiting_tenant *t = tenant_of(b, tenant);
    struct waiting_employee *w = waiting(b, 1, sizeof(*w));
    struct dir_employee *e = kept(b, 1, sizeof(*e));
    char *roles = arena_strdup(b->arena, employee->roles ? employee->roles : "");
    b->failed |= !roles;
    if (!t || !w || !e || !roles)
        return;
    e->id = employee->id;
    e->employee_no = kept_text(b, employee->employee_no);
    e->name = kept_text(b, employee->name);
    e->home_city_code = kept_text(b, employee->home_city_code);
    e->active = !employee->inactive;
    split(roles, e->roles, DIR_ROLES_MAX);
    *w = (struct waiting_employee){ t->employees, e, employee->unit, employee->superior };
    t->employees = w;
    t->nemployees++;
}

void directory_builder_set_policy(struct directory_builder *b, struct id tenant,
                                  const struct policy_setting *setting)
{
    const struct policy_def *def = policy_find(setting->key);
    if (!def)
        return;
    struct waiting_tenant *t = tenant_of(b, tenant);
    struct waiting_setting *w = waiting(b, 1, sizeof(*w));
    if (!t || !w)
        return;
    w->setting = *setting;
    w->setting.key = def->key;
    w->setting.value = kept_text(b, setting->value);
    w->next = t->settings;
    t->settings = w;
    t->nsettings++;
}

void directory_builder_add_days(struct directory_builder *b, struct id tenant, int16_t year,
                                const struct calendar_day *days, size_t ndays)
{
    struct waiting_tenant *t = tenant_of(b, tenant);
    struct waiting_year *y = waiting(b, 1, sizeof(*y));
    if (!t || !y)
        return;
    *y = (struct waiting_year){ t->years, year };
    t->years = y;
    t->nyears++;
    for (size_t i = 0; i < ndays; i++) {
        struct waiting_day *w = waiting(b, 1, sizeof(*w));
        if (!w)
            return;
        *w = (struct waiting_day){ t->days, year, days[i] };
        w->day.name = kept_text(b, days[i].name);
        t->days = w;
        t->ndays++;
    }
}

void directory_builder_add_key(struct directory_builder *b, const struct dir_key *key,
                               const char *scopes)
{
    struct waiting_key *w = waiting(b, 1, sizeof(*w));
    struct dir_key *k = kept(b, 1, sizeof(*k));
    char *list = arena_strdup(b->arena, scopes ? scopes : "");
    b->failed |= !list;
    if (!w || !k || !list)
        return;
    size_t most = 1;
    for (const char *p = list; *p; p++)
        most += *p == ',';
    const char **split_scopes = kept(b, most + 1, sizeof(*split_scopes));
    if (!split_scopes)
        return;
    split(list, split_scopes, most);
    *k = *key;
    k->scopes = split_scopes;
    if (key->secret_hash)
        k->secret_hash = kept_text(b, key->secret_hash);
    if (key->networks)
        k->networks = kept_text(b, key->networks);
    *w = (struct waiting_key){ b->keys, k };
    b->keys = w;
    b->nkeys++;
}

/* --- tables ----------------------------------------------------------------------------------- */

static size_t table_size(size_t n)
{
    size_t size = 2;
    while (size < 2 * n + 1)
        size *= 2;
    return size;
}

static void id_table_init(struct directory_builder *b, struct id_table *t, size_t n)
{
    size_t size = table_size(n);
    t->slots = kept(b, size, sizeof(*t->slots));
    t->mask = size - 1;
}

/* The first of several with one id stays. */
static void id_table_add(struct id_table *t, struct id id, const void *item)
{
    if (!t->slots || id_table_find(t, id))
        return;
    size_t at = id_hash(id) & t->mask;
    while (t->slots[at].item)
        at = (at + 1) & t->mask;
    t->slots[at] = (struct id_slot){ id, item };
}

static void text_table_init(struct directory_builder *b, struct text_table *t, size_t n)
{
    size_t size = table_size(n);
    t->slots = kept(b, size, sizeof(*t->slots));
    t->mask = size - 1;
}

static void text_table_add(struct text_table *t, const char *text, const void *item)
{
    if (!t->slots || !text || text_table_find(t, text))
        return;
    size_t at = text_hash(text) & t->mask;
    while (t->slots[at].item)
        at = (at + 1) & t->mask;
    t->slots[at] = (struct text_slot){ text, item };
}

/* --- settings --------------------------------------------------------------------------------- */

struct sorted_setting {
    size_t index; /* of the key in the table */
    size_t order; /* of setting */
    struct policy_setting setting;
};

static int compare_settings(const void *x, const void *y)
{
    const struct sorted_setting *a = x, *b = y;
    if (a->index != b->index)
        return a->index < b->index ? -1 : 1;
    if (a->setting.effective_from_us != b->setting.effective_from_us)
        return a->setting.effective_from_us < b->setting.effective_from_us ? -1 : 1;
    return a->order < b->order ? -1 : a->order > b->order;
}

static void build_settings(struct directory_builder *b, struct waiting_tenant *w)
{
    size_t ndefs;
    const struct policy_def *defs = policy_all(&ndefs);
    if (w->nsettings == 0)
        return;
    struct sorted_setting *sorted = waiting(b, w->nsettings, sizeof(*sorted));
    struct policy_setting *settings = kept(b, w->nsettings, sizeof(*settings));
    uint32_t *first = kept(b, ndefs + 1, sizeof(*first));
    if (!sorted || !settings || !first)
        return;

    size_t n = w->nsettings;
    for (struct waiting_setting *s = w->settings; s; s = s->next) {
        n--; /* the list runs backwards */
        sorted[n] =
            (struct sorted_setting){ (size_t)(policy_find(s->setting.key) - defs), n, s->setting };
    }
    qsort(sorted, w->nsettings, sizeof(*sorted), compare_settings);
    for (size_t i = 0; i < w->nsettings; i++) {
        settings[i] = sorted[i].setting;
        first[sorted[i].index + 1]++;
    }
    for (size_t i = 0; i < ndefs; i++)
        first[i + 1] += first[i];
    w->tenant->settings = settings;
    w->tenant->first = first;
}

/* --- calendars -------------------------------------------------------------------------------- */

/* What does not depend on policies, the same for all calendars of a company. */
struct calendar_facts {
    const struct calendar_day *days;
    size_t ndays;
    const int16_t *years;
    size_t nyears;
};

static int compare_days(const void *x, const void *y)
{
    const struct waiting_day *const *a = x, *const *b = y;
    int32_t p = date_number((*a)->day.date), q = date_number((*b)->day.date);
    if (p != q)
        return p < q ? -1 : 1;
    return (*a)->year - (*b)->year;
}

static int compare_years(const void *x, const void *y)
{
    const int16_t *a = x, *b = y;
    return *a - *b;
}

/* A notice may fix days of the December before, so a day can stand in two years: the later holds.
 */
static void collect_days(struct directory_builder *b, struct waiting_tenant *w,
                         struct calendar_facts *facts)
{
    struct waiting_day **sorted = waiting(b, w->ndays, sizeof(struct waiting_day *));
    struct calendar_day *days = kept(b, w->ndays, sizeof(*days));
    if (!sorted || !days)
        return;
    size_t n = 0;
    for (struct waiting_day *d = w->days; d; d = d->next)
        sorted[n++] = d;
    qsort(sorted, n, sizeof(*sorted), compare_days);

    size_t out = 0;
    for (size_t i = 0; i < n; i++) {
        bool again = out > 0 && date_number(days[out - 1].date) == date_number(sorted[i]->day.date);
        days[again ? out - 1 : out++] = sorted[i]->day;
    }
    facts->days = days;
    facts->ndays = out;
}

static void collect_years(struct directory_builder *b, struct waiting_tenant *w,
                          struct calendar_facts *facts)
{
    int16_t *years = kept(b, w->nyears, sizeof(*years));
    if (!years)
        return;
    size_t n = 0;
    for (struct waiting_year *y = w->years; y; y = y->next)
        years[n++] = y->year;
    qsort(years, n, sizeof(*years), compare_years);
    size_t out = 0;
    for (size_t i = 0; i < n; i++)
        if (out == 0 || years[out - 1] != years[i])
            years[out++] = years[i];
    facts->years = years;
    facts->nyears = out;
}

static const char *const calendar_keys[] = { "timezone", "workday_start", "workday_end",
                                             "working_week" };

/* t may be NULL: the defaults. */
static struct calendar make_calendar(const struct snapshot_tenant *t, const struct dir_unit *unit,
                                     const struct calendar_facts *facts, int64_t at_us)
{
    struct policy_value zone = snapshot_policy(t, unit, policy_find("timezone"), at_us);
    struct policy_value start = snapshot_policy(t, unit, policy_find("workday_start"), at_us);
    struct policy_value end = snapshot_policy(t, unit, policy_find("workday_end"), at_us);
    struct policy_value week = snapshot_policy(t, unit, policy_find("working_week"), at_us);
    struct calendar c = {
        .tz = tz_find(zone.text),
        .workday_start_minute = policy_minute(start, 9 * 60, 18 * 60),
        .workday_end_minute = policy_minute(end, 9 * 60, 18 * 60),
        .days = facts->days,
        .ndays = facts->ndays,
        .years = facts->years,
        .nyears = facts->nyears,
    };
    if (!c.tz) /* a machine without that zone file */
        c.tz = tz_find("UTC");
    if (!policy_week_mask(week.text, &c.week_mask))
        c.week_mask = 0x1f;
    return c;
}

static int compare_moments(const void *x, const void *y)
{
    const int64_t *a = x, *b = y;
    return *a < *b ? -1 : *a > *b;
}

/* The moments at which a calendar of the company may change, rising, INT64_MIN first. *of_units:
 * whether a unit has working hours of its own. */
static int64_t *calendar_moments(struct directory_builder *b, const struct snapshot_tenant *t,
                                 size_t *n_out, bool *of_units)
{
    size_t ndefs, most = 1;
    const struct policy_def *defs = policy_all(&ndefs);
    if (t->first)
        most += t->first[ndefs];
    int64_t *moments = waiting(b, most, sizeof(*moments));
    if (!moments)
        return NULL;

    size_t n = 0;
    moments[n++] = INT64_MIN;
    for (size_t k = 0; t->first && k < ARRAY_LEN(calendar_keys); k++) {
        size_t index = (size_t)(policy_find(calendar_keys[k]) - defs);
        for (uint32_t i = t->first[index]; i < t->first[index + 1]; i++) {
            moments[n++] = t->settings[i].effective_from_us;
            *of_units |= !id_is_nil(t->settings[i].unit);
        }
    }
    qsort(moments, n, sizeof(*moments), compare_moments);
    size_t out = 1;
    for (size_t i = 1; i < n; i++)
        if (moments[i] != moments[out - 1])
            moments[out++] = moments[i];
    *n_out = out;
    return moments;
}

static struct calendar_spans make_spans(struct directory_builder *b,
                                        const struct snapshot_tenant *t,
                                        const struct dir_unit *unit,
                                        const struct calendar_facts *facts, const int64_t *moments,
                                        size_t n)
{
    struct calendar_span *list = kept(b, n, sizeof(*list));
    if (!list)
        return (struct calendar_spans){ 0 };
    for (size_t i = 0; i < n; i++)
        list[i] = (struct calendar_span){ moments[i], make_calendar(t, unit, facts, moments[i]) };
    return (struct calendar_spans){ list, n };
}

/* Sets the calendars of the company and its units, after parents are known. */
static void build_calendars(struct directory_builder *b, struct waiting_tenant *w, int64_t now_us,
                            int64_t *next_change_us)
{
    struct snapshot_tenant *t = w->tenant;
    struct calendar_facts facts = { 0 };
    collect_days(b, w, &facts);
    collect_years(b, w, &facts);

    size_t n = 0;
    bool of_units = false;
    const int64_t *moments = calendar_moments(b, t, &n, &of_units);
    if (!moments)
        return;
    t->calendars = make_spans(b, t, NULL, &facts, moments, n);
    for (struct waiting_unit *u = w->units; u; u = u->next)
        u->unit->calendars =
            of_units ? make_spans(b, t, &u->unit->unit, &facts, moments, n) : t->calendars;
    if (b->failed)
        return;
    for (size_t i = 0; i < n; i++) {
        if (moments[i] <= now_us)
            t->tenant.calendar = &t->calendars.list[i].calendar;
        else
            *next_change_us = MIN(*next_change_us, moments[i]);
    }
}

/* --- the end ---------------------------------------------------------------------------------- */

static void build_people(struct directory_builder *b, struct waiting_tenant *w)
{
    struct snapshot_tenant *t = w->tenant;
    id_table_init(b, &t->units, w->nunits);
    id_table_init(b, &t->employees, w->nemployees);
    text_table_init(b, &t->numbers, w->nemployees);

    for (struct waiting_unit *u = w->units; u; u = u->next)
        id_table_add(&t->units, u->unit->unit.id, &u->unit->unit);
    for (struct waiting_employee *e = w->employees; e; e = e->next) {
        id_table_add(&t->employees, e->employee->id, e->employee);
        text_table_add(&t->numbers, e->employee->employee_no, e->employee);
    }
    for (struct waiting_unit *u = w->units; u; u = u->next)
        u->unit->unit.parent = id_table_find(&t->units, u->parent);
    for (struct waiting_employee *e = w->employees; e; e = e->next) {
        e->employee->unit = id_table_find(&t->units, e->unit);
        e->employee->superior = id_table_find(&t->employees, e->superior);
    }
}

static void build_keys(struct directory_builder *b, struct directory *d)
{
    text_table_init(b, &d->keys, b->nkeys);
    id_table_init(b, &d->api_keys, b->nkeys);
    id_table_init(b, &d->feeds, b->nkeys);
    for (struct waiting_key *k = b->keys; k; k = k->next)
        if (k->key->secret_hash)
            id_table_add(k->key->is_feed ? &d->feeds : &d->api_keys, k->key->credential, k->key);
        else
            text_table_add(&d->keys, k->key->public_key, k->key);
}

static struct directory *build(struct directory_builder *b)
{
    struct directory *d = kept(b, 1, sizeof(*d));
    const struct dir_tenant **tenants = kept(b, b->ntenants, sizeof(*tenants));
    if (!d || !tenants)
        return NULL;

    static const int64_t always[] = { INT64_MIN };
    static const struct calendar_facts no_facts;
    int64_t now_us = clock_now_us();
    d->next_change_us = INT64_MAX;
    d->fallback = make_spans(b, NULL, NULL, &no_facts, always, 1);
    id_table_init(b, &d->tenant_table, b->ntenants);
    for (struct waiting_tenant *w = b->tenants; w && !b->failed; w = w->next) {
        build_people(b, w);
        build_settings(b, w);
        build_calendars(b, w, now_us, &d->next_change_us);
        tenants[d->ntenants++] = &w->tenant->tenant;
        id_table_add(&d->tenant_table, w->tenant->tenant.id, w->tenant);
    }
    build_keys(b, d);
    d->tenants = tenants;
    d->revision = b->revision;
    atomic_init(&d->shares, 1);
    d->arena = b->arena;
    return b->failed ? NULL : d;
}

const struct directory *directory_builder_finish(struct directory_builder *b)
{
    struct directory *d = b->failed ? NULL : build(b);
    if (d)
        b->arena = NULL; /* the snapshot's now */
    directory_builder_free(b);
    return d;
}
