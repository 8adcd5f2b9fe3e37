/*
 * rpc.c - see rpc.h.
 */
#include "services/gateway/connect/rpc.h"

#include "common/clock.h"
#include "common/id.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/trace.h"

#define DEADLINE_DEFAULT_US (5 * SECOND_US)
#define DEADLINE_MAX_US (30 * SECOND_US)
#define IDEMPOTENCY_KEY_MAX 255
#define PROOF_US SECOND_US /* a body that takes longer does not keep what was proven */
#define TRACESTATE_MAX 512

static struct metric requests_total = {
    .name = "daybook_gateway_requests_total",
    .type = METRIC_COUNTER,
    .help = "Calls over HTTP, by method and code.",
    .labels = { "service", "method", "code" },
};
static struct metric request_seconds = {
    .name = "daybook_gateway_request_duration_seconds",
    .type = METRIC_HISTOGRAM,
    .help = "Time from a whole request to its answer.",
    .labels = { "service" }, /* of which it knows every method: the daemons have those */
    .buckets = metric_rpc_buckets,
};

struct rpc {
    struct upstream *upstream;
    struct streams *streams;
    struct identity *identity; /* the process's */
};

struct flight_trace {
    struct span server, hop; /* hop: from the question to the bus to its answer */
};

/* One call under way; the exchange's. */
struct flight {
    struct rpc *rpc;
    struct connect_call *call;
    struct upstream_call *asked;   /* NULL: not, or answered */
    int64_t began_us, deadline_us; /* monotonic */
    struct proof proof;
    const char *idempotency_key;
    struct id request_id;
    const char *traceparent;    /* the caller's; "" = none */
    struct flight_trace *trace; /* NULL: tracing is off, or no memory for it */
};

void rpc_register_metrics(void)
{
    metric_register(&requests_total);
    metric_register(&request_seconds);
}

struct rpc *rpc_new(struct upstream *upstream, struct streams *streams, struct identity *identity)
{
    struct rpc *r = calloc(1, sizeof(*r));

    if (r)
        *r = (struct rpc){ .upstream = upstream, .streams = streams, .identity = identity };
    return r;
}

void rpc_free(struct rpc *r)
{
    free(r);
}

/* --- the trace ---------------------------------------------------------------------------------- */

/* "" unless it is one; in version 00. */
static const char *traceparent_of(struct http_exchange *x)
{
    const char *text = http_header(x, "Traceparent");
    struct trace_context c;

    if (!text || !trace_parse(text, &c))
        return "";
    if (strncmp(text, "00-", 3) == 0)
        return text;
    char *mine = arena_alloc(http_arena(x), TRACEPARENT_LEN + 1);
    return mine ? trace_format(&c, mine) : "";
}

static void begin_trace(struct flight *f)
{
    struct http_exchange *x = connect_exchange(f->call);
    const struct schema_method *m = connect_method(f->call);
    char id[ID_TEXT_MAX];

    f->traceparent = traceparent_of(x);
    f->trace = trace_on() ? arena_alloc(http_arena(x), sizeof(*f->trace)) : NULL;
    if (!f->trace)
        return;
    span_begin(&f->trace->server, SPAN_SERVER, m->service, f->traceparent);
    span_began_at(&f->trace->server, f->began_us);
    span_name_method(&f->trace->server, m->service, m->name);
    span_text(&f->trace->server, "rpc.system", "connect_rpc");
    span_text(&f->trace->server, "daybook.request_id", id_text(f->request_id, id));
}

/* What is passed on to the bus. */
static const char *begin_hop(struct flight *f, const struct schema_method *m)
{
    if (!f->trace)
        return f->traceparent;
    const char *own = span_traceparent(&f->trace->server, f->traceparent);
    span_begin(&f->trace->hop, SPAN_CLIENT, m->service, own);
    span_name_method(&f->trace->hop, m->service, m->name);
    span_text(&f->trace->hop, "rpc.system", "mdp");
    return span_traceparent(&f->trace->hop, own);
}

static void end_trace(struct flight *f, enum err code)
{
    if (!f->trace)
        return;
    span_end_call(&f->trace->hop, code); /* off, unless it was begun */
    span_end_call(&f->trace->server, code);
}

/* --- the end ------------------------------------------------------------------------------------ */

static void count(struct flight *f, enum err code)
{
    const struct schema_method *m = connect_method(f->call);
    const char *const labels[] = { m->service, m->name, code ? err_name(code) : "ok" };

    metric_add(&requests_total, 1, labels);
    metric_observe_traced(
        &request_seconds, (double)(clock_monotonic_us() - f->began_us) / (double)SECOND_US, labels,
        f->trace && span_recorded(&f->trace->server) ? f->trace->server.traceparent : NULL);
    end_trace(f, code);
}

/* What has no time that would say something of us: a stream, once, when it is let in or not. */
static void count_untimed(const struct schema_method *m, enum err code)
{
    metric_add(&requests_total, 1,
               (const char *const[]){ m->service, m->name, code ? err_name(code) : "ok" });
}

static void fail_as(struct flight *f, const struct connect_failure *failure)
{
    count(f, failure->code);
    if (failure->code == ERR_UNAUTHENTICATED)
        connect_add_header(f->call, "WWW-Authenticate", "Bearer realm=\"daybook\"");
    connect_fail_as(f->call, failure);
}

static void fail(struct flight *f, enum err code, const char *text)
{
    fail_as(f, &(struct connect_failure){ .code = code, .text = text });
}

/* Facts about the answer (call.proto) as headers. */
static void add_metadata(struct flight *f, const PbCallResult *result)
{
    for (size_t i = 0; i < result->n_metadata; i++)
        connect_add_header(f->call, result->metadata[i]->key, result->metadata[i]->value);
}

static void on_answer(void *arg, const struct upstream_answer *answer)
{
    struct flight *f = arg;

    f->asked = NULL;
    if (answer->code) {
        fail(f, answer->code,
             answer->code == ERR_UNAVAILABLE
                 ? "no bus takes the request; nothing was done: send it again"
                 : CONNECT_TIME_IS_UP);
        return;
    }
    add_metadata(f, answer->result);
    const PbStatus *status = answer->result->status;
    if (!status) {
        count(f, ERR_OK);
        connect_reply(f->call, answer->message, answer->len);
        return;
    }
    count(f, (enum err)status->code);
    connect_fail(f->call, status);
}

void rpc_unreadable(void *arg UNUSED, struct connect_call *call, enum err code)
{
    const struct schema_method *m = connect_method(call);
    struct flight *f = connect_data(call);

    if (f)
        count(f, code);
    else /* nobody has looked yet who asks */
        count_untimed(m, code);
}

void rpc_gone(void *arg, struct connect_call *call)
{
    struct rpc *r = arg;
    struct flight *f = connect_data(call);

    if (streams_serve(connect_method(call))) {
        streams_gone(r->streams, call);
        return;
    }
    if (!f || !f->asked)
        return;
    upstream_forget(r->upstream, f->asked);
    f->asked = NULL;
    count(f, clock_monotonic_us() >= f->deadline_us ? ERR_DEADLINE_EXCEEDED : ERR_CANCELED);
}

void rpc_drained(void *arg, struct connect_call *call)
{
    struct rpc *r = arg;

    if (streams_serve(connect_method(call)))
        streams_drained(r->streams, call);
}

/* --- the beginning ------------------------------------------------------------------------------ */

static bool is_printable(const char *text, size_t max)
{
    size_t len = strlen(text);

    if (len == 0 || len > max)
        return false;
    for (size_t i = 0; i < len; i++)
        if (text[i] < 0x20 || text[i] > 0x7e)
            return false;
    return true;
}

/* The draft of the header has it in quotes. */
const char *rpc_idempotency_key(struct http_exchange *x)
{
    const char *text = http_header(x, "Idempotency-Key");
    size_t len = text ? strlen(text) : 0;

    if (!text)
        return "";
    if (len >= 2 && text[0] == '"' && text[len - 1] == '"')
        text = arena_strndup(http_arena(x), text + 1, len - 2);
    return text && is_printable(text, IDEMPOTENCY_KEY_MAX) ? text : NULL;
}

static const char *tracestate_of(struct http_exchange *x)
{
    const char *text = http_header(x, "Tracestate");
    return text && is_printable(text, TRACESTATE_MAX) ? text : "";
}

static void ask(struct flight *f)
{
    const struct schema_method *m = connect_method(f->call);
    int64_t asked_us = connect_timeout_us(f->call);

    f->deadline_us = f->began_us + MIN(asked_us ? asked_us : DEADLINE_DEFAULT_US, DEADLINE_MAX_US);
    struct upstream_request request = {
        .service = m->service,
        .method = m->name,
        .principal = f->proof.principal,
        .request_id = f->request_id,
        .idempotency_key = f->idempotency_key,
        .traceparent = begin_hop(f, m),
        .tracestate = *f->traceparent ? tracestate_of(connect_exchange(f->call)) : "",
        .remote_address = f->proof.from,
        .deadline_us = f->deadline_us,
    };

    request.message = connect_message(f->call, &request.len);
    f->asked = upstream_ask(f->rpc->upstream, &request, on_answer, f);
    if (!f->asked) {
        fail(f, ERR_RESOURCE_EXHAUSTED, "out of memory; try again");
        return;
    }
    connect_set_deadline(f->call, f->deadline_us);
    connect_message_copied(f->call);
}

/* counts: the request does, for the limit. False: it was answered. */
static bool prove(struct flight *f, bool counts)
{
    struct http_exchange *x = connect_exchange(f->call);
    const struct asker who = identity_asker(f->rpc->identity, x);
    struct refusal refusal;

    enum err e = counts
                     ? identity_admit(f->rpc->identity, &who, http_arena(x), &f->proof, &refusal)
                     : identity_prove(f->rpc->identity, &who, http_arena(x), &f->proof, &refusal);
    if (!e)
        return true;
    refusal_tell(&refusal, x);
    fail_as(f, &(struct connect_failure){ .code = e,
                                          .reason = refusal.reason,
                                          .text = refusal.text,
                                          .wait_us = refusal.wait_us });
    return false;
}

/* What every call needs, stream or not. False: it was answered. */
static bool admit(struct flight *f)
{
    struct http_exchange *x = connect_exchange(f->call);

    if (!prove(f, true))
        return false;
    begin_trace(f); /* strangers fill no collector */
    f->idempotency_key = rpc_idempotency_key(x);
    if (!f->idempotency_key) {
        fail(f, ERR_INVALID_ARGUMENT, "Idempotency-Key: 1 to 255 printable ASCII characters");
        return false;
    }
    return true;
}

bool rpc_admit(void *arg, struct connect_call *call)
{
    struct flight *f = arena_alloc(http_arena(connect_exchange(call)), sizeof(*f));
    char request_id[ID_TEXT_MAX];

    if (!f) {
        connect_fail_text(call, ERR_RESOURCE_EXHAUSTED, "out of memory; try again");
        return false;
    }
    *f = (struct flight){ .rpc = arg, .call = call, .began_us = clock_monotonic_us() };
    connect_set_data(call, f);
    f->request_id = id_new();
    connect_add_header(call, "X-Request-Id", id_text(f->request_id, request_id));
    return admit(f);
}

void rpc_take(void *arg, struct connect_call *call)
{
    struct rpc *r = arg;
    struct flight *f = connect_data(call);

    int64_t now_us = clock_monotonic_us();
    bool is_old = now_us - f->began_us > PROOF_US;

    f->began_us = now_us; /* not while the body was coming */
    if (is_old && !prove(f, false))
        return;
    const struct schema_method *m = connect_method(call);
    if (streams_serve(m)) {
        connect_set_data(call, NULL); /* from here on it is the stream's */
        enum err e = streams_take(r->streams, call, f->proof.principal);
        count_untimed(m, e);
    } else if (m->server_stream || m->client_stream) {
        fail(f, ERR_UNIMPLEMENTED, "no service has its streams carried by the gateway");
    } else {
        ask(f);
    }
}
