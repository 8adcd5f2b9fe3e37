/*
 * trace.c - ids, sampler, spans, and the ring that ended spans go into.
 *
 * The ring is an array made once. Its lock is held for the copy of one span, and the exporter is
 * woken when a batch is full only, not by every span.
 */
#include "common/trace_internal.h"

#include <errno.h>
#include <pthread.h>
#include <sodium.h>

#include "common/clock.h"
#include "common/metrics.h"
#include "common/num.h"

#define RANDOM_POOL 512

atomic_bool trace_enabled;

static struct metric dropped_total = {
    .name = "daybook_trace_dropped_total",
    .type = METRIC_COUNTER,
    .help = "Spans lost because the collector did not take them.",
};

static struct trace_sampler sampler; /* written while tracing is off */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t has_batch;
static struct span *ring; /* TRACE_RING_SPANS of them */
static size_t ring_first, ring_count;
static bool woken;

/* --- traceparent ------------------------------------------------------------------------------ */

/* Lower case only, as the standard has it. */
static int digit_of(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool parse_hex(const char *text, uint8_t *out, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        int high = digit_of(text[2 * i]), low = digit_of(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static bool parse_parts(const char *text, uint8_t *version, struct trace_context *c)
{
    return parse_hex(text, version, 1) && text[2] == '-' &&
           parse_hex(text + 3, c->trace, TRACE_ID_LEN) && text[35] == '-' &&
           parse_hex(text + 36, c->span, SPAN_ID_LEN) && text[52] == '-' &&
           parse_hex(text + 53, &c->flags, 1);
}

bool trace_parse(const char *text, struct trace_context *out)
{
    struct trace_context c;
    uint8_t version;

    if (strnlen(text, TRACEPARENT_LEN) < TRACEPARENT_LEN || !parse_parts(text, &version, &c))
        return false;
    char after = text[TRACEPARENT_LEN];
    if (version == 0xff || (after && (version == 0 || after != '-')) ||
        sodium_is_zero(c.trace, TRACE_ID_LEN) || sodium_is_zero(c.span, SPAN_ID_LEN))
        return false;
    c.flags &= TRACE_SAMPLED | TRACE_RANDOM;
    *out = c;
    return true;
}

char *trace_format(const struct trace_context *c, char buf[static TRACEPARENT_LEN + 1])
{
    memcpy(buf, "00-", 3);
    sodium_bin2hex(buf + 3, 2 * TRACE_ID_LEN + 1, c->trace, TRACE_ID_LEN);
    buf[35] = '-';
    sodium_bin2hex(buf + 36, 2 * SPAN_ID_LEN + 1, c->span, SPAN_ID_LEN);
    buf[52] = '-';
    sodium_bin2hex(buf + 53, 3, &c->flags, 1);
    return buf;
}

/* Ids need no secrecy, and a system call for each would be dear: a thread fetches for many. */
static void make_id(uint8_t *out, size_t len)
{
    static _Thread_local uint8_t pool[RANDOM_POOL];
    static _Thread_local size_t left;

    do {
        if (left < len) {
            randombytes_buf(pool, sizeof(pool));
            left = sizeof(pool);
        }
        left -= len;
        memcpy(out, pool + left, len);
    } while (sodium_is_zero(out, len));
}

/* --- sampler ---------------------------------------------------------------------------------- */

bool trace_sampler_parse(const char *name, const char *arg, struct trace_sampler *out,
                         bool *of_arg_out, const char **reason_out)
{
    static const char by_parent[] = "parentbased_";
    struct trace_sampler s = { .ratio = 1 };
    const char *kind = name;

    if (strncmp(name, by_parent, sizeof(by_parent) - 1) == 0) {
        s.by_parent = true;
        kind += sizeof(by_parent) - 1;
    }
    *of_arg_out = false;
    if (strcmp(kind, "always_off") == 0) {
        s.ratio = 0;
    } else if (strcmp(kind, "traceidratio") == 0) {
        if (arg && *arg && (!num_double(arg, &s.ratio) || s.ratio < 0 || s.ratio > 1)) {
            *of_arg_out = true;
            *reason_out = "must be a number from 0 to 1";
            return false;
        }
    } else if (strcmp(kind, "always_on") != 0) {
        *reason_out = "must be always_on, always_off or traceidratio, or one of these behind "
                      "parentbased_";
        return false;
    }
    *out = s;
    return true;
}

/* By the last eight bytes of the trace id, as other implementations do, so that all agree. */
static bool is_within(double ratio, const uint8_t trace[static TRACE_ID_LEN])
{
    uint64_t x = 0;

    for (size_t i = TRACE_ID_LEN / 2; i < TRACE_ID_LEN; i++)
        x = x << 8 | trace[i];
    return ratio >= 1 || (double)(x >> 1) < ratio * 0x1p63;
}

bool trace_sampler_takes(const struct trace_sampler *s, const struct trace_context *parent,
                         const uint8_t trace[static TRACE_ID_LEN])
{
    if (parent && s->by_parent)
        return parent->flags & TRACE_SAMPLED;
    return is_within(s->ratio, trace);
}

/* --- the ring --------------------------------------------------------------------------------- */

void trace_count_dropped(size_t n)
{
    metric_add(&dropped_total, (int64_t)n, NULL);
}

bool trace_ring_open(const struct trace_sampler *by)
{
    pthread_condattr_t attr;

    ring = calloc(TRACE_RING_SPANS, sizeof(*ring));
    if (!ring)
        return false;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&has_batch, &attr);
    (void)pthread_condattr_destroy(&attr);
    metric_register(&dropped_total);
    sampler = *by;
    woken = false;
    atomic_store(&trace_enabled, true);
    return true;
}

void trace_ring_close(void)
{
    atomic_store(&trace_enabled, false);
    pthread_mutex_lock(&lock);
    size_t left = ring_count;
    free(ring);
    ring = NULL;
    ring_first = ring_count = 0;
    pthread_mutex_unlock(&lock);
    (void)pthread_cond_destroy(&has_batch);
    trace_count_dropped(left);
}

static void push(const struct span *s)
{
    bool taken = false;

    pthread_mutex_lock(&lock);
    if (ring && ring_count < TRACE_RING_SPANS) {
        ring[(ring_first + ring_count++) % TRACE_RING_SPANS] = *s;
        taken = true;
        if (ring_count == TRACE_BATCH_SPANS)
            pthread_cond_signal(&has_batch);
    }
    pthread_mutex_unlock(&lock);
    if (!taken)
        trace_count_dropped(1);
}

size_t trace_ring_take(struct span *out, size_t max)
{
    size_t n = 0;

    pthread_mutex_lock(&lock);
    for (; n < max && ring_count > 0; ring_count--) {
        out[n++] = ring[ring_first];
        ring_first = (ring_first + 1) % TRACE_RING_SPANS;
    }
    pthread_mutex_unlock(&lock);
    return n;
}

void trace_ring_wait(int64_t until_us)
{
    struct timespec until = { .tv_sec = until_us / SECOND_US,
                              .tv_nsec = until_us % SECOND_US * 1000 };

    pthread_mutex_lock(&lock);
    while (ring_count < TRACE_BATCH_SPANS && !woken)
        if (pthread_cond_timedwait(&has_batch, &lock, &until) == ETIMEDOUT)
            break;
    pthread_mutex_unlock(&lock);
}

void trace_ring_wake(void)
{
    pthread_mutex_lock(&lock);
    woken = true;
    pthread_cond_signal(&has_batch);
    pthread_mutex_unlock(&lock);
}

/* --- spans ------------------------------------------------------------------------------------ */

/* Text and attributes are left as they are: their counts say that there are none. */
static void clear(struct span *s, enum span_kind kind, const char *name)
{
    memset(s, 0, offsetof(struct span, attributes));
    s->kind = kind;
    s->name = name;
}

/* The trace id must be there. */
static void start(struct span *s, bool sampled)
{
    make_id(s->own.span, SPAN_ID_LEN);
    s->own.flags = (uint8_t)((s->own.flags & TRACE_RANDOM) | (sampled ? TRACE_SAMPLED : 0));
    s->state = sampled ? SPAN_RECORDED : SPAN_UNSAMPLED;
    trace_format(&s->own, s->traceparent);
    if (!sampled)
        return;
    s->began_us = clock_wall_us();
    s->began_monotonic_us = clock_monotonic_us();
}

void span_begin(struct span *s, enum span_kind kind, const char *name, const char *traceparent)
{
    struct trace_context parent;

    s->state = SPAN_OFF;
    if (!trace_on())
        return;
    clear(s, kind, name);
    bool has_parent = traceparent && trace_parse(traceparent, &parent);
    if (has_parent) {
        s->own = parent;
        memcpy(s->parent, parent.span, SPAN_ID_LEN);
    } else {
        make_id(s->own.trace, TRACE_ID_LEN);
    }
    start(s, trace_sampler_takes(&sampler, has_parent ? &parent : NULL, s->own.trace));
}

void span_begin_part(struct span *s, const struct span *parent, const char *name)
{
    s->state = SPAN_OFF;
    if (!span_recorded(parent))
        return;
    clear(s, SPAN_INTERNAL, name);
    s->own = parent->own;
    memcpy(s->parent, parent->own.span, SPAN_ID_LEN);
    start(s, true);
}

void span_begin_linked(struct span *s, enum span_kind kind, const char *name,
                       const char *traceparent)
{
    struct trace_context before;

    s->state = SPAN_OFF;
    if (!trace_on() || !traceparent || !trace_parse(traceparent, &before) ||
        !(before.flags & TRACE_SAMPLED))
        return;
    clear(s, kind, name);
    make_id(s->own.trace, TRACE_ID_LEN);
    s->link = before;
    s->linked = true;
    start(s, trace_sampler_takes(&sampler, &before, s->own.trace));
}

void span_began_at(struct span *s, int64_t monotonic_us)
{
    if (!span_recorded(s))
        return;
    s->began_us -= s->began_monotonic_us - monotonic_us;
    s->began_monotonic_us = monotonic_us;
}

const char *span_traceparent(const struct span *s, const char *otherwise)
{
    return s && s->state != SPAN_OFF ? s->traceparent : otherwise;
}

void span_name_method(struct span *s, const char *service, const char *method)
{
    if (!span_recorded(s))
        return;
    s->name = service;
    s->method = method;
}

const char *trace_of_chores(void)
{
    return trace_on() ? "00-00000000000000000000000000000001-0000000000000001-00" : NULL;
}

static struct span_attribute *add(struct span *s, const char *key)
{
    if (s->nattributes == SPAN_ATTRIBUTES_MAX) {
        s->ndropped++;
        return NULL;
    }
    struct span_attribute *a = &s->attributes[s->nattributes++];
    *a = (struct span_attribute){ .key = key, .text_at = -1 };
    return a;
}

void span_text(struct span *s, const char *key, const char *value)
{
    if (!span_recorded(s) || !value || !*value)
        return;
    size_t size = strlen(value) + 1;
    if (s->text_len + size > SPAN_TEXT_MAX) {
        s->ndropped++;
        return;
    }
    struct span_attribute *a = add(s, key);
    if (!a)
        return;
    a->text_at = (int16_t)s->text_len;
    memcpy(s->text + s->text_len, value, size);
    s->text_len = (uint16_t)(s->text_len + size);
}

void span_number(struct span *s, const char *key, int64_t value)
{
    struct span_attribute *a = span_recorded(s) ? add(s, key) : NULL;

    if (a)
        a->number = value;
}

void span_fail(struct span *s, const char *why)
{
    if (!span_recorded(s))
        return;
    s->failed = true;
    s->failure = why;
}

/* As OpenTelemetry's conventions have it for RPC. */
static bool is_servers_fault(enum err code)
{
    return code == ERR_UNKNOWN || code == ERR_DEADLINE_EXCEEDED || code == ERR_UNIMPLEMENTED ||
           code == ERR_INTERNAL || code == ERR_UNAVAILABLE || code == ERR_DATA_LOSS;
}

void span_end_call(struct span *s, enum err code)
{
    if (!span_recorded(s))
        return;
    if (code)
        span_text(s, "error.type", err_name(code));
    if (code && (s->kind != SPAN_SERVER || is_servers_fault(code)))
        span_fail(s, err_name(code));
    span_end(s);
}

void span_end_at(struct span *s, int64_t monotonic_us)
{
    if (!span_recorded(s))
        return;
    s->took_us = MAX(0, monotonic_us - s->began_monotonic_us);
    push(s);
    s->state = SPAN_UNSAMPLED; /* a second end does nothing; what it passed on stays true */
}

void span_end(struct span *s)
{
    if (span_recorded(s))
        span_end_at(s, clock_monotonic_us());
}
