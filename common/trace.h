/*
 * trace.h - spans: what one request did, where, and for how long, for an OpenTelemetry collector.
 *
 * Off unless trace_start() was given a collector; then each function costs one branch, and callers
 * pass on the traceparent that they got. On, every hop makes a span id of its own and passes that
 * on, sampled or not, so that all hops of a trace judge alike.
 *
 * A span is its maker's, on his stack or in his arena, and of one thread at a time. Ended, it is
 * copied into a bounded ring, from which one thread posts to the collector (OTLP/HTTP in JSON, 512
 * spans or 5 s). A ring that is full and a collector that does not take them lose spans, counted in
 * daybook_trace_dropped_total; a request never waits (F53). trace_start() and trace_stop() are the
 * main thread's, all else is thread-safe.
 *
 * W3C Trace Context Level 1 (https://www.w3.org/TR/trace-context/), protocols I, operations 7.
 */
#ifndef DAYBOOK_COMMON_TRACE_H
#define DAYBOOK_COMMON_TRACE_H

#include <stdatomic.h>

#include "common/base.h"
#include "common/err.h"

#define TRACE_ID_LEN 16
#define SPAN_ID_LEN 8
#define TRACEPARENT_LEN 55
#define SPAN_ATTRIBUTES_MAX 8
#define SPAN_TEXT_MAX 256

/* --- traceparent ------------------------------------------------------------------------------ */

struct trace_context {
    uint8_t trace[TRACE_ID_LEN], span[SPAN_ID_LEN];
    uint8_t flags; /* TRACE_SAMPLED, TRACE_RANDOM; the others are unknown and dropped */
};
#define TRACE_SAMPLED 0x01
#define TRACE_RANDOM 0x02 /* Level 2; passed on only */

/* False: not a traceparent; to be treated as none. Of a version above 00 the first four parts. */
NODISCARD bool trace_parse(const char *text, struct trace_context *out);
/* In version 00. */
char *trace_format(const struct trace_context *c, char buf[static TRACEPARENT_LEN + 1]);

/* --- sampler ---------------------------------------------------------------------------------- */

struct trace_sampler {
    bool by_parent; /* the parent's decision where there is one */
    double ratio;   /* of the others: 0 none, 1 all */
};

/* By the names of OTEL_TRACES_SAMPLER and its argument ("" and NULL: 1). False: reason_out (static)
 * says what is wrong, and *of_arg_out whether it is the argument. */
NODISCARD bool trace_sampler_parse(const char *name, const char *arg, struct trace_sampler *out,
                                   bool *of_arg_out, const char **reason_out);
/* parent: NULL, none. */
bool trace_sampler_takes(const struct trace_sampler *s, const struct trace_context *parent,
                         const uint8_t trace[static TRACE_ID_LEN]);

/* --- on and off ------------------------------------------------------------------------------- */

struct trace_config {
    const char *url; /* of the collector, whole: http://localhost:4318/v1/traces */
    const char *service, *version, *instance;
    struct trace_sampler sampler;
};

/* Starts the exporter. The texts are borrowed until trace_stop(). False: no memory, no thread. */
NODISCARD bool trace_start(const struct trace_config *config);
/* Posts what is left, for at most 2 s, and turns tracing off. No span may be open in another
 * thread. Nothing happens when it is off. */
void trace_stop(void);

extern atomic_bool trace_enabled; /* read by trace_on() only */
static inline bool trace_on(void)
{
    return atomic_load_explicit(&trace_enabled, memory_order_relaxed);
}

/* --- spans ------------------------------------------------------------------------------------ */

/* The numbers of OTLP. */
enum span_kind { SPAN_INTERNAL = 1, SPAN_SERVER, SPAN_CLIENT, SPAN_PRODUCER, SPAN_CONSUMER };

enum span_state {
    SPAN_OFF,       /* tracing is off: nothing else of it is set */
    SPAN_UNSAMPLED, /* has ids, which are passed on; is not exported */
    SPAN_RECORDED,
};

struct span_attribute {
    const char *key; /* static */
    int64_t number;
    int16_t text_at; /* in struct span's text; -1: a number */
};

/* Private but for its size. Needs no initializer before span_begin(). */
struct span {
    enum span_state state;
    enum span_kind kind;
    struct trace_context own, link;
    uint8_t parent[SPAN_ID_LEN]; /* zeros: none */
    bool linked, failed;
    const char *name, *method; /* static; shown as name/method */
    const char *failure;       /* static, or NULL */
    int64_t began_us;          /* wall */
    int64_t began_monotonic_us, took_us;
    uint8_t nattributes, ndropped;
    uint16_t text_len;
    struct span_attribute attributes[SPAN_ATTRIBUTES_MAX];
    char text[SPAN_TEXT_MAX];
    char traceparent[TRACEPARENT_LEN + 1];
};

/* Begins now. name: static, of few values. traceparent: of the parent; NULL, "" and what is none
 * begin a trace. */
void span_begin(struct span *s, enum span_kind kind, const char *name, const char *traceparent);
/* A part of what `parent` (NULL: nothing) does; of no interest where that is not recorded. */
void span_begin_part(struct span *s, const struct span *parent, const char *name);
/* A trace of its own that tells of what came before it; SPAN_OFF unless that was sampled. */
void span_begin_linked(struct span *s, enum span_kind kind, const char *name,
                       const char *traceparent);
/* It began earlier, at that monotonic time. */
void span_began_at(struct span *s, int64_t monotonic_us);
/* What is to be passed on: the span's own traceparent, or `otherwise` when tracing is off. NULL is
 * as off. Valid as long as the span, or `otherwise`. */
const char *span_traceparent(const struct span *s, const char *otherwise);

/* What a daemon asks for by itself, again and again, passes on instead of nothing: a trace that is
 * not sampled, or all that would be seen of it is an idle system's polling. NULL when off. */
const char *trace_of_chores(void);

/* The rest does nothing unless the span (NULL: none) is recorded. */
static inline bool span_recorded(const struct span *s)
{
    return s && s->state == SPAN_RECORDED;
}
/* The name becomes service/method; static both. */
void span_name_method(struct span *s, const char *service, const char *method);
/* At most 8 attributes with 256 bytes of text; more are counted as dropped. key: static, value:
 * copied; ids and codes only, never personal data. NULL and "" are left out. */
void span_text(struct span *s, const char *key, const char *value);
void span_number(struct span *s, const char *key, int64_t value);
/* It failed; why: static. */
void span_fail(struct span *s, const char *why);
/* The end of a call, of either side: with error.type where there is a code. A server's span has
 * failed by codes only that are its own fault, a client's by all. */
void span_end_call(struct span *s, enum err code);
void span_end(struct span *s);
/* It ended earlier, at that monotonic time. */
void span_end_at(struct span *s, int64_t monotonic_us);

#endif
