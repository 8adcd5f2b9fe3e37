/*
 * metrics.c - families and their series.
 *
 * A family hangs at its definition (metric.state), its series in a small hash table of lists that
 * only grow. Looking up and counting take no lock; the lock is for making families and series and
 * for writing the page. All heads are published with release and read with acquire.
 */
#include "common/metrics.h"

#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "common/clock.h"
#include "common/trace.h"

#define SERIES_MOST 2000
#define TABLE_SIZE 64
#define BUCKETS_MOST 32

/* Written by whoever finds it free; a second one's is as good. */
struct exemplar {
    atomic_flag busy;
    char trace[33], span[17]; /* hexadecimal; "" = none yet */
    double value;
    int64_t at_us; /* wall */
};

struct series {
    struct series *next;
    uint32_t hash;
    char *labels[METRIC_LABELS_MAX];
    _Atomic int64_t count;              /* counters */
    _Atomic uint64_t bits;              /* a double: the gauge, or the histogram's sum */
    struct exemplar *_Atomic exemplars; /* nbuckets + 1; NULL before the first trace */
    _Atomic uint64_t buckets[];         /* nbuckets + 1, the last being +Inf */
};

struct family {
    struct family *next;
    struct metric *metric;
    size_t nlabels;
    size_t nbuckets;
    struct series *_Atomic table[TABLE_SIZE];
};

const double metric_rpc_buckets[] = { .001, .0025, .005, .01, .025, .05, .1,
                                      .25,  .5,    1,    2.5, 5,    10,  0 };
const double metric_query_buckets[] = { .0005, .001, .0025, .01, .05, .25, 1, 5, 0 };
const double metric_lateness_buckets[] = { .01, .05, .1, .25, .5,   1,    2.5, 5,
                                           10,  30,  60, 300, 1800, 7200, 0 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct family *families; /* newest first; under the lock */
static size_t nseries;          /* lines of the page; under the lock */

/* --- families and series
 * --------------------------------------------------------------------------- */

static struct family *make_family(struct metric *m)
{
    struct family *f = calloc(1, sizeof(*f));
    if (!f)
        return NULL;
    f->metric = m;
    while (f->nlabels < METRIC_LABELS_MAX && m->labels[f->nlabels])
        f->nlabels++;
    if (m->type == METRIC_HISTOGRAM) {
        assert(m->buckets);
        while (m->buckets[f->nbuckets] > 0)
            f->nbuckets++;
        assert(f->nbuckets <= BUCKETS_MOST);
    }
    f->next = families;
    families = f;
    return f;
}

/* NULL when out of memory: then this update is lost, and the next one tries again. */
static struct family *family_of(struct metric *m)
{
    struct family *f = __atomic_load_n((struct family **)&m->state, __ATOMIC_ACQUIRE);
    if (f)
        return f;
    pthread_mutex_lock(&lock);
    f = m->state;
    if (!f) {
        f = make_family(m);
        __atomic_store_n((struct family **)&m->state, f, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&lock);
    return f;
}

static const char *label_at(const char *const *labels, size_t i)
{
    return labels && labels[i] ? labels[i] : "";
}

static uint32_t hash_labels(const struct family *f, const char *const *labels)
{
    uint32_t hash = 2166136261U;
    for (size_t i = 0; i < f->nlabels; i++) {
        for (const char *p = label_at(labels, i); *p; p++)
            hash = (hash ^ (unsigned char)*p) * 16777619U;
        hash = (hash ^ 0xffU) * 16777619U; /* a byte that UTF-8 never has, between two labels */
    }
    return hash;
}

static struct series *find_series(struct family *f, uint32_t hash, const char *const *labels)
{
    struct series *s = atomic_load_explicit(&f->table[hash % TABLE_SIZE], memory_order_acquire);
    for (; s; s = s->next) {
        size_t i = 0;
        if (s->hash != hash)
            continue;
        while (i < f->nlabels && strcmp(s->labels[i], label_at(labels, i)) == 0)
            i++;
        if (i == f->nlabels)
            return s;
    }
    return NULL;
}

static void free_series(struct series *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < METRIC_LABELS_MAX; i++)
        free(s->labels[i]);
    free(atomic_load(&s->exemplars));
    free(s);
}

static struct series *make_series(struct family *f, uint32_t hash, const char *const *labels)
{
    struct series *s = calloc(1, sizeof(*s) + (f->nbuckets + 1) * sizeof(_Atomic uint64_t));
    if (!s)
        return NULL;
    s->hash = hash;
    for (size_t i = 0; i < f->nlabels; i++) {
        s->labels[i] = strdup(label_at(labels, i));
        if (!s->labels[i]) {
            free_series(s);
            return NULL;
        }
    }
    return s;
}

/* Of one set of labels. A histogram has its buckets, the last of all values, a sum and a count. */
static size_t lines_of(const struct family *f)
{
    return f->metric->type == METRIC_HISTOGRAM ? f->nbuckets + 3 : 1;
}

/* Histograms leave a quarter to the counters, which tell of trouble and may come last. */
static bool has_room(const struct family *f)
{
    size_t most = f->metric->type == METRIC_HISTOGRAM ? SERIES_MOST * 3 / 4 : SERIES_MOST;
    return nseries + lines_of(f) <= most;
}

/* Called with the lock held. */
static struct series *find_or_make_series(struct family *f, const char *const *labels)
{
    uint32_t hash = hash_labels(f, labels);
    struct series *s = find_series(f, hash, labels);
    if (s)
        return s;
    s = make_series(f, hash, labels);
    if (s) {
        struct series *_Atomic *head = &f->table[hash % TABLE_SIZE];
        s->next = atomic_load_explicit(head, memory_order_relaxed);
        atomic_store_explicit(head, s, memory_order_release);
        nseries += lines_of(f);
    }
    return s;
}

/* The series for these labels, made when it is the first time; NULL when out of memory. */
static struct series *series_of(struct metric *m, const char *const *labels)
{
    static const char *const others[METRIC_LABELS_MAX] = { "other", "other", "other" };
    struct family *f = family_of(m);
    if (!f)
        return NULL;
    struct series *s = find_series(f, hash_labels(f, labels), labels);
    if (s)
        return s;

    pthread_mutex_lock(&lock);
    /* Past the limit, a family's "other" may still be made: one more for each. */
    s = find_or_make_series(f, has_room(f) || f->nlabels == 0 ? labels : others);
    pthread_mutex_unlock(&lock);
    return s;
}

void metric_register(struct metric *m)
{
    struct family *f = family_of(m);
    if (f && f->nlabels == 0)
        (void)series_of(m, NULL); /* a count of nothing is shown as 0 */
}

/* --- updates
 * --------------------------------------------------------------------------------------- */

static uint64_t bits_of(double d)
{
    uint64_t bits;
    memcpy(&bits, &d, sizeof(bits));
    return bits;
}

static double double_of(uint64_t bits)
{
    double d;
    memcpy(&d, &bits, sizeof(d));
    return d;
}

void metric_add(struct metric *m, int64_t n, const char *const *labels)
{
    assert(m->type == METRIC_COUNTER && n >= 0);
    struct series *s = series_of(m, labels);
    if (s)
        atomic_fetch_add_explicit(&s->count, n, memory_order_relaxed);
}

void metric_set(struct metric *m, double value, const char *const *labels)
{
    assert(m->type == METRIC_GAUGE);
    struct series *s = series_of(m, labels);
    if (s)
        atomic_store_explicit(&s->bits, bits_of(value), memory_order_relaxed);
}

static void add_to_bits(struct series *s, double by)
{
    uint64_t old = atomic_load_explicit(&s->bits, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&s->bits, &old, bits_of(double_of(old) + by),
                                                  memory_order_relaxed, memory_order_relaxed))
        ;
}

void metric_shift(struct metric *m, double by, const char *const *labels)
{
    assert(m->type == METRIC_GAUGE);
    struct series *s = series_of(m, labels);
    if (s)
        add_to_bits(s, by);
}

/* NULL without memory: then there is none to show. */
static struct exemplar *exemplars_of(struct series *s, size_t nbuckets)
{
    struct exemplar *e = atomic_load_explicit(&s->exemplars, memory_order_acquire), *now = NULL;
    if (e)
        return e;
    e = calloc(nbuckets + 1, sizeof(*e));
    if (!e)
        return NULL;
    for (size_t i = 0; i <= nbuckets; i++)
        atomic_flag_clear(&e[i].busy);
    if (atomic_compare_exchange_strong(&s->exemplars, &now, e))
        return e;
    free(e);
    return now;
}

static void keep_exemplar(struct exemplar *e, double value, const char *traceparent)
{
    if (atomic_flag_test_and_set_explicit(&e->busy, memory_order_acquire))
        return;
    (void)snprintf(e->trace, sizeof(e->trace), "%.32s", traceparent + 3);
    (void)snprintf(e->span, sizeof(e->span), "%.16s", traceparent + 36);
    e->value = value;
    e->at_us = clock_wall_us();
    atomic_flag_clear_explicit(&e->busy, memory_order_release);
}

void metric_observe(struct metric *m, double value, const char *const *labels)
{
    metric_observe_traced(m, value, labels, NULL);
}

void metric_observe_traced(struct metric *m, double value, const char *const *labels,
                           const char *traceparent)
{
    assert(m->type == METRIC_HISTOGRAM);
    struct series *s = series_of(m, labels);
    if (!s || isnan(value))
        return;
    size_t i = 0;
    while (m->buckets[i] > 0 && value > m->buckets[i])
        i++;
    atomic_fetch_add_explicit(&s->buckets[i], 1, memory_order_relaxed);
    add_to_bits(s, value);
    if (!traceparent || strlen(traceparent) < TRACEPARENT_LEN)
        return;
    struct exemplar *e = exemplars_of(s, ((struct family *)m->state)->nbuckets);
    if (e)
        keep_exemplar(&e[i], value, traceparent);
}

/* --- the page
 * -------------------------------------------------------------------------------------- */

static void write_escaped(struct sbuf *out, const char *s, bool quotes)
{
    for (; *s; s++) {
        if (*s == '\n')
            sbuf_add_text(out, "\\n");
        else if (*s == '\\')
            sbuf_add_text(out, "\\\\");
        else if (*s == '"' && quotes)
            sbuf_add_text(out, "\\\"");
        else
            sbuf_add_char(out, *s);
    }
}

static void write_double(struct sbuf *out, double v)
{
    if (isnan(v)) {
        sbuf_add_text(out, "NaN");
    } else if (isinf(v)) {
        sbuf_add_text(out, v > 0 ? "+Inf" : "-Inf");
    } else {
        char text[40];
        (void)snprintf(text, sizeof(text), "%.15g", v);
        if (strtod(text, NULL) != v) /* not every double can be told in 15 digits */
            (void)snprintf(text, sizeof(text), "%.17g", v);
        sbuf_add_text(out, text);
    }
}

/* OpenMetrics tells bounds apart from whole numbers. */
static void write_bound(struct sbuf *out, double bound, bool open)
{
    write_double(out, bound);
    if (open && isfinite(bound) && bound == trunc(bound))
        sbuf_add_text(out, ".0");
}

/* name_suffix{label="value",...,le="bound"} */
static void write_name(struct sbuf *out, const struct family *f, const struct series *s,
                       const char *suffix, const double *bound, bool open)
{
    sbuf_add_text(out, f->metric->name);
    sbuf_add_text(out, suffix);
    if (f->nlabels > 0 || bound) {
        const char *before = "{";
        for (size_t i = 0; i < f->nlabels; i++, before = ",") {
            sbuf_addf(out, "%s%s=\"", before, f->metric->labels[i]);
            write_escaped(out, s->labels[i], true);
            sbuf_add_char(out, '"');
        }
        if (bound) {
            sbuf_addf(out, "%sle=\"", before);
            write_bound(out, *bound, open);
            sbuf_add_char(out, '"');
        }
        sbuf_add_char(out, '}');
    }
    sbuf_add_char(out, ' ');
}

/* Waits for a writer, who takes no lock and so is soon done. */
static void write_exemplar(struct sbuf *out, struct exemplar *e)
{
    while (atomic_flag_test_and_set_explicit(&e->busy, memory_order_acquire))
        sched_yield();
    struct exemplar copy = { .value = e->value, .at_us = e->at_us };
    memcpy(copy.trace, e->trace, sizeof(copy.trace));
    memcpy(copy.span, e->span, sizeof(copy.span));
    atomic_flag_clear_explicit(&e->busy, memory_order_release);
    if (!copy.trace[0])
        return;
    sbuf_addf(out, " # {trace_id=\"%s\",span_id=\"%s\"} ", copy.trace, copy.span);
    write_double(out, copy.value);
    sbuf_addf(out, " %" PRId64 ".%06d", copy.at_us / SECOND_US, (int)(copy.at_us % SECOND_US));
}

static void write_histogram(struct sbuf *out, const struct family *f, struct series *s, bool open)
{
    struct exemplar *exemplars =
        open ? atomic_load_explicit(&s->exemplars, memory_order_acquire) : NULL;
    int64_t sum = 0; /* what the bounds add up to is the count, however updates interleave */
    for (size_t i = 0; i <= f->nbuckets; i++) {
        double bound = i < f->nbuckets ? f->metric->buckets[i] : HUGE_VAL;
        sum += (int64_t)atomic_load_explicit(&s->buckets[i], memory_order_relaxed);
        write_name(out, f, s, "_bucket", &bound, open);
        sbuf_add_i64(out, sum);
        if (exemplars)
            write_exemplar(out, &exemplars[i]);
        sbuf_add_char(out, '\n');
    }
    write_name(out, f, s, "_sum", NULL, open);
    write_double(out, double_of(atomic_load_explicit(&s->bits, memory_order_relaxed)));
    sbuf_add_char(out, '\n');
    write_name(out, f, s, "_count", NULL, open);
    sbuf_add_i64(out, sum);
    sbuf_add_char(out, '\n');
}

static void write_series(struct sbuf *out, const struct family *f, struct series *s, bool open)
{
    switch (f->metric->type) {
    case METRIC_COUNTER:
        write_name(out, f, s, "", NULL, open);
        sbuf_add_i64(out, atomic_load_explicit(&s->count, memory_order_relaxed));
        sbuf_add_char(out, '\n');
        break;
    case METRIC_GAUGE:
        write_name(out, f, s, "", NULL, open);
        write_double(out, double_of(atomic_load_explicit(&s->bits, memory_order_relaxed)));
        sbuf_add_char(out, '\n');
        break;
    case METRIC_HISTOGRAM:
        write_histogram(out, f, s, open);
        break;
    }
}

/* OpenMetrics names a counter's family without the suffix of its samples. */
static int family_len(const struct family *f, bool open)
{
    static const char suffix[] = "_total";
    size_t len = strlen(f->metric->name), less = sizeof(suffix) - 1;

    if (open && f->metric->type == METRIC_COUNTER && len > less &&
        strcmp(f->metric->name + len - less, suffix) == 0)
        len -= less;
    return (int)len;
}

static void write_family(struct sbuf *out, struct family *f, bool open)
{
    static const char *const types[] = { "counter", "gauge", "histogram" };
    int len = family_len(f, open);

    sbuf_addf(out, "# HELP %.*s ", len, f->metric->name);
    write_escaped(out, f->metric->help ? f->metric->help : "", open);
    sbuf_addf(out, "\n# TYPE %.*s %s\n", len, f->metric->name, types[f->metric->type]);
    for (size_t i = 0; i < TABLE_SIZE; i++) {
        struct series *s = atomic_load_explicit(&f->table[i], memory_order_acquire);
        for (; s; s = s->next)
            write_series(out, f, s, open);
    }
}

static void write_page(struct sbuf *out, bool open)
{
    /* Families are never taken away while daemons run, so only the head needs the lock: a scrape
     * of a large page must not hold up the first use of a series. */
    pthread_mutex_lock(&lock);
    struct family *f = families;
    pthread_mutex_unlock(&lock);
    for (; f; f = f->next)
        write_family(out, f, open);
}

void metrics_write(struct sbuf *out)
{
    write_page(out, false);
}

void metrics_write_open(struct sbuf *out)
{
    write_page(out, true);
}

void metrics_stop(void)
{
    pthread_mutex_lock(&lock);
    while (families) {
        struct family *f = families;
        families = f->next;
        for (size_t i = 0; i < TABLE_SIZE; i++) {
            struct series *s = f->table[i];
            while (s) {
                struct series *next = s->next;
                free_series(s);
                s = next;
            }
        }
        f->metric->state = NULL;
        free(f);
    }
    nseries = 0;
    pthread_mutex_unlock(&lock);
}
