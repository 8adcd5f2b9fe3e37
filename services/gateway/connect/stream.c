/*
 * stream.c - see stream.h.
 *
 * pos is the position up to which everything was sent or is not wanted; it only grows. Each second
 * a stream's key or token is proven anew (F56), and each minute, or when his roles have changed (F61),
 * its caller's right to the log.
 */
#include "services/gateway/connect/stream.h"

#include <sodium.h>
#include <stdatomic.h>
#include <strings.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/trace.h"
#include "common/wire.h"
#include "daybook/bus/v1/bus.pb-c.h"

#define SERVICE "daybook.bus.v1.EventService"
#define METHOD "StreamEvents"
#define TYPES_MAX 64
#define REQUEST_MAX (16 * KIB) /* it is held as long as the stream stands */
#define PAGE 500
#define READ_US (5 * SECOND_US)
#define POSITION_US (10 * SECOND_US) /* between two positions of a quiet stream */
#define PROVE_US SECOND_US
#define RIGHT_US (60 * SECOND_US)
#define RIGHT_SPREAD_US (15 * SECOND_US) /* so that they do not all ask at once */
#define RETRY_US SECOND_US
#define STREAMS_OF_ACTOR 1000 /* in one loop */
#define READS_MAX 64 /* of one loop at a time: a gap in what is heard makes all of them read */

typedef Daybook__Bus__V1__StreamEventsRequest PbRequest;
typedef Daybook__Bus__V1__StreamEventsResponse PbResponse;
typedef Daybook__Bus__V1__ReadEventsResponse PbPage;

struct stream {
    struct stream *next, *prev;
    struct streams *all;
    struct connect_call *call;
    struct arena *arena; /* the exchange's */
    const PbRequest *request;
    const PbPrincipal *principal;
    struct id tenant;
    struct id log_id;
    int64_t pos;
    struct upstream_call *reading;
    bool begun;    /* the first position was sent */
    bool behind;   /* its client does not take more for now */
    bool pressed;  /* to be asked for by the log, whatever is held: for the right to it */
    bool waits;    /* to read, until others have */
    int32_t limit; /* events of the next page */
    int64_t retry_us, told_us, proven_us, right_us; /* monotonic */
};

struct streams {
    struct recent *recent;
    struct upstream *upstream;
    struct identity *identity;
    struct stream *first;
    size_t n;
    size_t reads, waiting;
    int64_t next_us;
    bool ending;
};

static struct metric streams_gauge = {
    .name = "daybook_gateway_streams",
    .type = METRIC_GAUGE,
    .help = "Streams of events that are open, of all loops.",
};
static atomic_llong streams_all;

static void pump(struct stream *s);
static void ask_log(struct stream *s);
static void let_one_read(struct streams *all);

struct streams *streams_new(struct recent *recent, struct upstream *upstream,
                            struct identity *identity)
{
    struct streams *s = calloc(1, sizeof(*s));

    metric_register(&streams_gauge);
    if (s)
        *s = (struct streams){
            .recent = recent, .upstream = upstream, .identity = identity, .next_us = INT64_MAX
        };
    return s;
}

void streams_free(struct streams *s)
{
    free(s);
}

size_t streams_open(const struct streams *s)
{
    return s->n;
}

bool streams_serve(const struct schema_method *method)
{
    return strcmp(method->service, SERVICE) == 0 && strcmp(method->name, METHOD) == 0;
}

/* --- the end ------------------------------------------------------------------------------------ */

static void count_streams(int by)
{
    metric_set(&streams_gauge, (double)(atomic_fetch_add(&streams_all, by) + by), NULL);
}

static void forget(struct stream *s)
{
    struct streams *all = s->all;

    if (connect_data(s->call) != s)
        return; /* already */
    if (s->reading) {
        upstream_forget(all->upstream, s->reading);
        all->reads--;
    }
    all->waiting -= s->waits;
    s->waits = false;
    s->reading = NULL;
    if (s->next)
        s->next->prev = s->prev;
    if (s->prev)
        s->prev->next = s->next;
    else
        all->first = s->next;
    all->n--;
    count_streams(-1);
    connect_set_data(s->call, NULL);
}

static void end_as(struct stream *s, const struct connect_failure *failure)
{
    struct connect_call *call = s->call;

    forget(s);
    connect_fail_as(call, failure);
}

static void end(struct stream *s, enum err code, const char *text)
{
    end_as(s, &(struct connect_failure){ .code = code, .text = text });
}

void streams_gone(struct streams *all UNUSED, struct connect_call *call)
{
    struct stream *s = connect_data(call);

    if (s)
        forget(s);
}

void streams_end(struct streams *all)
{
    all->ending = true;
    while (all->first)
        end(all->first, ERR_UNAVAILABLE, "the gateway stops; ask again with the last position");
}

/* --- messages ----------------------------------------------------------------------------------- */

static void took(struct stream *s, bool more)
{
    if (connect_is_over(s->call))
        forget(s); /* a message that cannot be written has ended it */
    s->behind = s->behind || !more;
}

static void send_response(struct stream *s, const PbResponse *response)
{
    CLEANUP(arena_freep) struct arena *a = arena_new(16 * MIB);
    uint8_t *data;
    size_t len;

    if (!a || wire_pack(&response->base, a, &data, &len)) {
        end(s, ERR_RESOURCE_EXHAUSTED, "out of memory; ask again with the last position");
        return;
    }
    s->told_us = clock_monotonic_us();
    took(s, connect_send(s->call, data, len));
}

static void send_position(struct stream *s, int64_t head)
{
    PbResponse response = DAYBOOK__BUS__V1__STREAM_EVENTS_RESPONSE__INIT;
    Daybook__Bus__V1__LogPosition position = DAYBOOK__BUS__V1__LOG_POSITION__INIT;
    char text[ID_TEXT_MAX];

    position.log_id = id_text(s->log_id, text);
    position.seq = s->pos;
    position.head_seq = MAX(head, s->pos);
    response.message_case = DAYBOOK__BUS__V1__STREAM_EVENTS_RESPONSE__MESSAGE_POSITION;
    response.position = &position;
    s->begun = true;
    send_response(s, &response);
}

static bool wants(const struct stream *s, const char *type)
{
    for (size_t i = 0; i < s->request->n_types; i++) {
        const char *want = s->request->types[i];
        size_t len = strlen(want);
        if (want[len - 1] == '.' ? strncmp(type, want, len) == 0 : strcmp(type, want) == 0)
            return true;
    }
    return s->request->n_types == 0;
}

/* --- from memory -------------------------------------------------------------------------------- */

static void send_held(struct stream *s, const struct recent_event *e)
{
    size_t len = e->len;
    const void *data = e->response;
    const char *json;

    if (connect_is_json(s->call)) {
        enum err err = recent_json(s->all->recent, e->seq, &json, &len);
        if (err) {
            forget(s);
            connect_fail_to_write(s->call, err);
            return;
        }
        data = json;
    }
    s->told_us = clock_monotonic_us();
    took(s, connect_send_encoded(s->call, data, len));
}

/* True: everything that is held was looked at. */
static bool serve_held(struct stream *s)
{
    struct recent *r = s->all->recent;
    const struct recent_event *e;

    if (s->pos + 1 < recent_first(r))
        return false;
    while (!s->behind && (e = recent_get(r, s->pos + 1))) {
        if (id_equal(e->tenant, s->tenant) && wants(s, e->type))
            send_held(s, e);
        if (connect_is_over(s->call))
            return true;
        s->pos = e->seq;
    }
    return true;
}

/* --- from the log ------------------------------------------------------------------------------- */

static void take_page(struct stream *s, const PbPage *page)
{
    struct id log_id;

    if (!id_parse(page->log_id, &log_id)) {
        end(s, ERR_INTERNAL, "the log has no id");
        return;
    }
    if (!s->begun) {
        s->log_id = log_id;
        if (*s->request->log_id && strcasecmp(s->request->log_id, page->log_id) != 0) {
            end_as(s, &(struct connect_failure){
                          .code = ERR_ABORTED,
                          .reason = "LOG_CHANGED",
                          .text = "LOG_CHANGED: the log was restored, and has another log_id" });
            return;
        }
        send_position(s, page->head_seq);
    } else if (!id_equal(log_id, s->log_id)) {
        end(s, ERR_UNAVAILABLE, "the log was restored; ask again and look at log_id");
        return;
    }
    s->right_us = clock_monotonic_us() - randombytes_uniform(RIGHT_SPREAD_US);
    s->pressed = false;
    s->limit = MIN(2 * s->limit, PAGE);
    for (size_t i = 0; i < page->n_events; i++) {
        if (s->behind)
            return; /* the rest is read again */
        PbResponse response = DAYBOOK__BUS__V1__STREAM_EVENTS_RESPONSE__INIT;
        response.message_case = DAYBOOK__BUS__V1__STREAM_EVENTS_RESPONSE__MESSAGE_EVENT;
        response.event = page->events[i];
        s->pos = page->events[i]->seq;
        send_response(s, &response);
    }
    s->pos = MAX(s->pos, page->read_upto_seq);
}

static void retry_later(struct stream *s)
{
    s->retry_us = clock_monotonic_us() + RETRY_US / 2 + randombytes_uniform(RETRY_US);
}

/* False: it ends the stream. A page may be too large for an answer, and then fewer events are not. */
static bool may_pass(struct stream *s, enum err code)
{
    switch (code) {
    case ERR_UNAVAILABLE:
        return s->begun;
    case ERR_DEADLINE_EXCEEDED:
    case ERR_RESOURCE_EXHAUSTED:
    case ERR_INTERNAL:
        if (s->limit == 1)
            return false;
        s->limit = MAX(s->limit / 4, 1);
        return true;
    default:
        return false;
    }
}

static void on_refusal(struct stream *s, const PbStatus *status)
{
    struct connect_call *call = s->call;

    if (may_pass(s, (enum err)status->code)) {
        retry_later(s);
        return;
    }
    forget(s);
    connect_fail(call, status);
}

static void on_page(void *arg, const struct upstream_answer *answer)
{
    struct stream *s = arg;
    struct streams *all = s->all;
    struct connect_call *call = s->call;
    CLEANUP(arena_freep) struct arena *a = arena_new(64 * MIB);
    ProtobufCMessage *page = NULL;
    struct wire_fault fault;

    s->reading = NULL;
    all->reads--;
    if (answer->code == ERR_OK && answer->result->status) {
        on_refusal(s, answer->result->status);
    } else if (answer->code && s->begun) {
        retry_later(s);
    } else if (answer->code || !a ||
               wire_unpack(&daybook__bus__v1__read_events_response__descriptor, answer->message,
                           answer->len, &wire_limits_internal, a, &page, &fault)) {
        end(s, ERR_UNAVAILABLE, "the log cannot be read now; ask again");
    } else {
        take_page(s, (const PbPage *)page);
        if (connect_data(call) == s)
            pump(s);
    }
    let_one_read(all);
}

static void read_log(struct stream *s)
{
    struct streams *all = s->all;

    all->waiting -= s->waits;
    s->waits = all->reads >= READS_MAX;
    all->waiting += s->waits;
    if (!s->waits)
        ask_log(s);
}

static void let_one_read(struct streams *all)
{
    struct stream *s = all->waiting ? all->first : NULL;

    while (s && !s->waits)
        s = s->next;
    if (s)
        read_log(s);
}

static void ask_log(struct stream *s)
{
    Daybook__Bus__V1__ReadEventsRequest read = DAYBOOK__BUS__V1__READ_EVENTS_REQUEST__INIT;
    CLEANUP(arena_freep) struct arena *a = arena_new(MIB);
    uint8_t *data = NULL;
    size_t len = 0;

    read.after_seq = s->pos;
    read.types = s->request->types;
    read.n_types = s->request->n_types;
    read.limit = s->limit;
    if (a && wire_pack(&read.base, a, &data, &len) == ERR_OK)
        s->reading = upstream_ask(
            s->all->upstream,
            &(struct upstream_request){ .service = SERVICE,
                                        .method = "ReadEvents",
                                        .message = data,
                                        .len = len,
                                        .principal = s->principal,
                                        .request_id = id_new(),
                                        .traceparent = trace_of_chores(),
                                        .deadline_us = clock_monotonic_us() + READ_US },
            on_page, s);
    if (s->reading)
        s->all->reads++;
    else
        retry_later(s);
}

/* --- onwards ------------------------------------------------------------------------------------ */

/* Sends what can be sent now. */
static void pump(struct stream *s)
{
    struct id log_id;
    int64_t head;

    if (s->reading || s->waits || s->behind || clock_monotonic_us() < s->retry_us)
        return;
    if (!s->begun || s->pressed) {
        read_log(s);
        return;
    }
    if (!recent_is_live(s->all->recent)) { /* then by the clock */
        read_log(s);
        s->retry_us = clock_monotonic_us() + RETRY_US;
        return;
    }
    (void)recent_head(s->all->recent, &log_id, &head);
    if (!id_equal(log_id, s->log_id))
        end(s, ERR_UNAVAILABLE, "the log was restored; ask again and look at log_id");
    else if (!serve_held(s))
        read_log(s);
}

/* Whether roles or scopes have changed; who it is never does. */
static bool is_same(const PbPrincipal *a, const PbPrincipal *b)
{
    bool same = a->n_roles == b->n_roles && a->n_scopes == b->n_scopes;

    for (size_t i = 0; same && i < a->n_roles; i++)
        same = strcmp(a->roles[i], b->roles[i]) == 0;
    for (size_t i = 0; same && i < a->n_scopes; i++)
        same = strcmp(a->scopes[i], b->scopes[i]) == 0;
    return same;
}

/* Proves the caller anew. One whose roles are others now is asked for by the log as what he is (F61);
 * a request under way keeps the principal that it has. False: the stream was ended. */
static bool prove_again(struct stream *s)
{
    CLEANUP(arena_freep) struct arena *a = arena_new(256 * KIB);
    const struct asker who = identity_asker(s->all->identity, connect_exchange(s->call));
    struct proof proof;
    struct refusal refusal;

    if (!a)
        return true;
    enum err e = identity_prove(s->all->identity, &who, a, &proof, &refusal);
    bool is_refused = e == ERR_UNAUTHENTICATED || e == ERR_PERMISSION_DENIED ||
                      (e == ERR_RESOURCE_EXHAUSTED && refusal.wait_us);
    if (is_refused) {
        end_as(s, &(struct connect_failure){
                      .code = e, .text = refusal.text, .wait_us = refusal.wait_us });
        return false;
    }
    if (!e && !is_same(proof.principal, s->principal) &&
        !identity_prove(s->all->identity, &who, s->arena, &proof, &refusal)) {
        s->principal = proof.principal;
        s->pressed = true;
    }
    return true;
}

/* Keys, rights, positions, and what waited. */
static void tick(struct stream *s, int64_t now_us)
{
    struct id log_id;
    int64_t head = s->pos;

    if (now_us >= s->proven_us + PROVE_US) {
        s->proven_us = now_us;
        if (!prove_again(s))
            return;
    }
    s->pressed = s->pressed || now_us >= s->right_us + RIGHT_US;
    if (connect_data(s->call) == s && s->begun && now_us >= s->told_us + POSITION_US) {
        (void)recent_head(s->all->recent, &log_id, &head);
        send_position(s, head);
    }
    if (connect_data(s->call) == s)
        pump(s);
}

void streams_run(struct streams *all, bool heard)
{
    int64_t now_us = clock_monotonic_us();
    bool due = now_us >= all->next_us;

    if (!heard && !due)
        return;
    if (due)
        all->next_us = now_us + PROVE_US;
    for (struct stream *s = all->first, *next; s; s = next) {
        next = s->next;
        if (due)
            tick(s, now_us);
        else
            pump(s);
    }
    if (!all->first)
        all->next_us = INT64_MAX;
}

int64_t streams_wait_us(const struct streams *s)
{
    return s->first ? clock_left_us(s->next_us) : INT64_MAX;
}

void streams_drained(struct streams *all UNUSED, struct connect_call *call)
{
    struct stream *s = connect_data(call);

    if (!s)
        return;
    s->behind = false; /* goes on with the next turn: this is inside the library's */
    s->all->next_us = 0;
}

/* --- the beginning ------------------------------------------------------------------------------ */

static const char *fault_of(const PbRequest *r)
{
    struct id id;

    if (r->after_seq < 0)
        return "after_seq: must not be negative";
    if (r->n_types > TYPES_MAX)
        return "types: at most 64";
    if (*r->log_id && !id_parse(r->log_id, &id))
        return "log_id: must be a UUID, or empty";
    for (size_t i = 0; i < r->n_types; i++)
        if (!*r->types[i])
            return "types: an empty name stands for nothing; leave it out";
    return NULL;
}

static void add(struct streams *all, struct stream *s)
{
    s->all = all;
    s->next = all->first;
    if (all->first)
        all->first->prev = s;
    all->first = s;
    all->n++;
    all->next_us = MIN(all->next_us, clock_monotonic_us() + PROVE_US);
    count_streams(1);
    connect_set_data(s->call, s);
    connect_begin(s->call);
}

static size_t count_of(const struct streams *all, const PbPrincipal *principal)
{
    size_t n = 0;

    for (const struct stream *s = all->first; s; s = s->next)
        n += strcmp(s->principal->actor_id, principal->actor_id) == 0;
    return n;
}

enum err streams_take(struct streams *all, struct connect_call *call, const PbPrincipal *principal)
{
    struct http_exchange *x = connect_exchange(call);
    struct arena *a = http_arena(x);
    struct stream *s = arena_alloc(a, sizeof(*s));
    ProtobufCMessage *request = NULL;
    struct wire_fault fault;
    const char *text = "out of memory; try again";
    size_t len;
    const void *message = connect_message(call, &len);

    if (len > REQUEST_MAX) {
        connect_fail_text(call, ERR_INVALID_ARGUMENT,
                          "the request is over 16 KiB: leave out what is not of it");
        return ERR_INVALID_ARGUMENT;
    }
    if (!s) {
        connect_fail_text(call, ERR_RESOURCE_EXHAUSTED, text);
        return ERR_RESOURCE_EXHAUSTED;
    }
    if (all->ending) {
        connect_fail_text(call, ERR_UNAVAILABLE, "the gateway stops; ask again");
        return ERR_UNAVAILABLE;
    }
    *s = (struct stream){ .call = call, .arena = a, .principal = principal, .limit = PAGE };
    enum err e = wire_unpack(&daybook__bus__v1__stream_events_request__descriptor, message, len,
                             &wire_limits_default, a, &request, &fault);
    s->request = (const PbRequest *)request;
    connect_message_copied(call);
    text = e ? fault.reason : fault_of(s->request);
    if (!e && text)
        e = ERR_INVALID_ARGUMENT;
    if (!e && !id_parse(s->principal->tenant_id, &s->tenant))
        e = ERR_INTERNAL;
    if (!e && count_of(all, principal) >= STREAMS_OF_ACTOR) {
        text = "this caller has as many streams open as he may; end some";
        e = ERR_RESOURCE_EXHAUSTED;
    }
    if (e) {
        connect_fail_text(call, e, text ? text : "the caller has no company");
        return e;
    }
    s->pos = s->request->after_seq;
    s->proven_us = s->told_us = s->right_us = clock_monotonic_us();
    add(all, s);
    pump(s);
    return ERR_OK;
}
