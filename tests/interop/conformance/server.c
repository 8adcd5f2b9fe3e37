/*
 * server.c - the gateway's Connect library as the server under test of connectrpc/conformance.
 *
 * One ServerCompatRequest comes on stdin, a ServerCompatResponse goes to stdout, each behind its
 * length; then connectrpc.conformance.v1.ConformanceService is served until SIGTERM. Each request
 * says what it is to be answered, and each answer says what was asked. One thread; what is to be
 * answered later stands in a list. Without memory the program ends.
 */
#include <arpa/inet.h>
#include <curl/curl.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <strings.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/wire.h"
#include "connectrpc/conformance/v1/server_compat.pb-c.h"
#include "connectrpc/conformance/v1/service.pb-c.h"
#include "services/gateway/connect/connect.h"

typedef Google__Protobuf__Any PbAny;
typedef Connectrpc__Conformance__V1__Header PbHeader;
typedef Connectrpc__Conformance__V1__Error PbError;
typedef Connectrpc__Conformance__V1__UnaryRequest PbUnaryRequest;
typedef Connectrpc__Conformance__V1__UnaryResponse PbUnaryResponse;
typedef Connectrpc__Conformance__V1__UnaryResponseDefinition PbUnaryDefinition;
typedef Connectrpc__Conformance__V1__ServerStreamRequest PbStreamRequest;
typedef Connectrpc__Conformance__V1__ServerStreamResponse PbStreamResponse;
typedef Connectrpc__Conformance__V1__StreamResponseDefinition PbStreamDefinition;
typedef Connectrpc__Conformance__V1__ConformancePayload PbPayload;
typedef Connectrpc__Conformance__V1__ConformancePayload__RequestInfo PbRequestInfo;
typedef Connectrpc__Conformance__V1__ConformancePayload__ConnectGetInfo PbGetInfo;
typedef Connectrpc__Conformance__V1__ServerCompatRequest PbStart;
typedef Connectrpc__Conformance__V1__ServerCompatResponse PbStarted;

/* A call with something still to be said. */
struct job {
    struct job *next, *prev;
    struct connect_call *call;
    int64_t due_us;
    const PbUnaryDefinition *unary; /* one of the two, or neither: nothing is asked for */
    const PbStreamDefinition *stream;
    size_t sent; /* messages of a stream */
};

struct server {
    struct http_loop *loop;
    struct connect *connect;
    struct job *jobs;
};

static void *must(void *p)
{
    if (!p) {
        fputs("conformance_server: no memory\n", stderr);
        exit(1);
    }
    return p;
}

static struct arena *arena_of(struct connect_call *call)
{
    return http_arena(connect_exchange(call));
}

/* --- what was asked ---------------------------------------------------------------------------- */

struct pairs {
    struct arena *arena;
    size_t n;
    const char *names[128], *values[128];
};

static bool add_pair(void *arg, const char *name, const char *value)
{
    struct pairs *p = arg;

    if (p->n == ARRAY_LEN(p->names))
        return false;
    p->names[p->n] = must(arena_strdup(p->arena, name));
    p->values[p->n++] = must(arena_strdup(p->arena, value));
    return true;
}

/* All values of the name of pair i. */
static PbHeader *gather(const struct pairs *p, size_t i)
{
    PbHeader *h = must(wire_new(&connectrpc__conformance__v1__header__descriptor, p->arena));

    h->name = must(arena_strdup(p->arena, p->names[i]));
    h->value = must(arena_array(p->arena, p->n - i, sizeof(char *)));
    for (size_t k = i; k < p->n; k++)
        if (strcasecmp(p->names[k], p->names[i]) == 0)
            h->value[h->n_value++] = must(arena_strdup(p->arena, p->values[k]));
    return h;
}

static PbHeader **group(const struct pairs *p, size_t *n_out)
{
    PbHeader **list = must(arena_array(p->arena, p->n, sizeof(*list)));

    *n_out = 0;
    for (size_t i = 0; i < p->n; i++) {
        bool seen = false;
        for (size_t k = 0; k < i && !seen; k++)
            seen = strcasecmp(p->names[k], p->names[i]) == 0;
        if (!seen)
            list[(*n_out)++] = gather(p, i);
    }
    return list;
}

static char *unescape(struct arena *a, const char *text, size_t len)
{
    char *copy = must(arena_strndup(a, text, len));

    for (char *plus = copy; (plus = strchr(plus, '+'));)
        *plus = ' ';
    char *plain = must(curl_easy_unescape(NULL, copy, 0, NULL));
    char *out = must(arena_strdup(a, plain));
    curl_free(plain);
    return out;
}

static PbGetInfo *get_info(struct connect_call *call)
{
    struct arena *a = arena_of(call);
    struct pairs pairs = { .arena = a };
    PbGetInfo *info = must(wire_new(
        &connectrpc__conformance__v1__conformance_payload__connect_get_info__descriptor, a));

    for (const char *p = http_query(connect_exchange(call)); *p;) {
        size_t all = strcspn(p, "&"), name = strcspn(p, "=&");
        size_t value = MIN(name + 1, all);
        (void)add_pair(&pairs, unescape(a, p, name), unescape(a, p + value, all - value));
        p += all + (p[all] == '&');
    }
    info->query_params = group(&pairs, &info->n_query_params);
    return info;
}

/* The request as it came, in an Any. */
static PbAny *request_any(struct connect_call *call)
{
    struct arena *a = arena_of(call);
    PbAny *any = must(wire_new(&google__protobuf__any__descriptor, a));
    const void *message = connect_message(call, &any->value.len);

    any->type_url =
        must(arena_printf(a, "type.googleapis.com/%s", connect_method(call)->input->name));
    any->value.data = must(arena_memdup(a, message, any->value.len));
    return any;
}

static PbRequestInfo *request_info(struct connect_call *call)
{
    struct arena *a = arena_of(call);
    struct pairs pairs = { .arena = a };
    PbRequestInfo *info = must(
        wire_new(&connectrpc__conformance__v1__conformance_payload__request_info__descriptor, a));

    http_each_header(connect_exchange(call), add_pair, &pairs);
    info->request_headers = group(&pairs, &info->n_request_headers);
    info->n_requests = 1;
    info->requests = must(arena_alloc(a, sizeof(*info->requests)));
    info->requests[0] = request_any(call);
    if (connect_timeout_us(call)) {
        info->_timeout_ms_case =
            CONNECTRPC__CONFORMANCE__V1__CONFORMANCE_PAYLOAD__REQUEST_INFO___TIMEOUT_MS_TIMEOUT_MS;
        info->timeout_ms = connect_timeout_us(call) / MSEC_US;
    }
    if (connect_is_get(call))
        info->connect_get_info = get_info(call);
    return info;
}

static PbPayload *payload(struct connect_call *call, ProtobufCBinaryData data, bool with_info)
{
    PbPayload *p = must(
        wire_new(&connectrpc__conformance__v1__conformance_payload__descriptor, arena_of(call)));

    p->data = data;
    p->request_info = with_info ? request_info(call) : NULL;
    return p;
}

/* --- answers ----------------------------------------------------------------------------------- */

static void add_all(struct connect_call *call, PbHeader *const *list, size_t n,
                    void (*add)(struct connect_call *, const char *, const char *))
{
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < list[i]->n_value; k++)
            add(call, list[i]->name, list[i]->value[k]);
}

/* with_info: no answer has told what was asked. */
static void fail(struct connect_call *call, const PbError *error, bool with_info)
{
    struct arena *a = arena_of(call);
    PbStatus status = GOOGLE__RPC__STATUS__INIT;

    status.code = (int)error->code;
    if (error->_message_case == CONNECTRPC__CONFORMANCE__V1__ERROR___MESSAGE_MESSAGE)
        status.message = error->message;
    status.details = must(arena_array(a, error->n_details + 1, sizeof(*status.details)));
    for (size_t i = 0; i < error->n_details; i++)
        status.details[status.n_details++] = error->details[i];
    if (with_info)
        status.details[status.n_details++] = must(wire_any(a, &request_info(call)->base));
    connect_fail(call, &status);
}

static uint8_t *pack(struct connect_call *call, const ProtobufCMessage *m, size_t *len_out)
{
    uint8_t *packed = NULL;

    if (wire_pack(m, arena_of(call), &packed, len_out))
        must(NULL);
    return packed;
}

static void answer_unary(struct job *j)
{
    const PbUnaryDefinition *d = j->unary;
    PbUnaryResponse answer = CONNECTRPC__CONFORMANCE__V1__UNARY_RESPONSE__INIT;
    ProtobufCBinaryData data = { 0 };
    size_t len;

    if (d && d->response_case ==
                 CONNECTRPC__CONFORMANCE__V1__UNARY_RESPONSE_DEFINITION__RESPONSE_ERROR) {
        fail(j->call, d->error, true);
        return;
    }
    if (d && d->response_case ==
                 CONNECTRPC__CONFORMANCE__V1__UNARY_RESPONSE_DEFINITION__RESPONSE_RESPONSE_DATA)
        data = d->response_data;
    answer.payload = payload(j->call, data, true);
    const uint8_t *packed = pack(j->call, &answer.base, &len);
    connect_reply(j->call, packed, len);
}

static void send_message(struct job *j)
{
    PbStreamResponse message = CONNECTRPC__CONFORMANCE__V1__SERVER_STREAM_RESPONSE__INIT;
    size_t len;

    message.payload = payload(j->call, j->stream->response_data[j->sent], j->sent == 0);
    const uint8_t *packed = pack(j->call, &message.base, &len);
    (void)connect_send(j->call, packed, len); /* what its client does not take yet is kept */
    j->sent++;
}

static void end_stream(struct job *j)
{
    if (j->stream && j->stream->error)
        fail(j->call, j->stream->error, j->sent == 0);
    else
        connect_end(j->call);
}

/* --- jobs -------------------------------------------------------------------------------------- */

static void forget(struct server *s, struct job *j)
{
    if (j->next)
        j->next->prev = j->prev;
    if (j->prev)
        j->prev->next = j->next;
    else
        s->jobs = j->next;
}

/* Says what is due; then the job is over, or due again. */
static void run(struct server *s, struct job *j)
{
    bool stream = connect_method(j->call)->server_stream;
    size_t n = j->stream ? j->stream->n_response_data : 0;

    if (stream && j->sent < n)
        send_message(j);
    if (stream && j->sent < n) {
        j->due_us += j->stream->response_delay_ms * MSEC_US;
        return;
    }
    forget(s, j);
    if (stream)
        end_stream(j);
    else
        answer_unary(j);
}

static void run_due(struct server *s, int64_t now_us)
{
    for (struct job *j = s->jobs, *next; j; j = next) {
        next = j->next;
        if (j->due_us <= now_us)
            run(s, j);
    }
}

static int64_t jobs_wait_us(const struct server *s, int64_t now_us)
{
    int64_t wait_us = INT64_MAX;

    for (const struct job *j = s->jobs; j; j = j->next)
        wait_us = MIN(wait_us, MAX(0, j->due_us - now_us));
    return wait_us;
}

/* --- calls ------------------------------------------------------------------------------------- */

static void *unpack(struct connect_call *call, const ProtobufCMessageDescriptor *type)
{
    size_t len;
    const void *bytes = connect_message(call, &len);
    ProtobufCMessage *m = NULL;
    struct wire_fault fault;

    if (wire_unpack(type, bytes, len, &wire_limits_internal, arena_of(call), &m, &fault))
        must(NULL);
    return m;
}

/* Also of IdempotentUnary, whose messages have the same fields. */
static void ask_unary(struct job *j)
{
    const PbUnaryRequest *r =
        unpack(j->call, &connectrpc__conformance__v1__unary_request__descriptor);
    const PbUnaryDefinition *d = j->unary = r->response_definition;

    if (!d)
        return;
    add_all(j->call, d->response_headers, d->n_response_headers, connect_add_header);
    add_all(j->call, d->response_trailers, d->n_response_trailers, connect_add_trailer);
    j->due_us += d->response_delay_ms * MSEC_US;
}

static void ask_stream(struct job *j)
{
    const PbStreamRequest *r =
        unpack(j->call, &connectrpc__conformance__v1__server_stream_request__descriptor);
    const PbStreamDefinition *d = j->stream = r->response_definition;

    if (!d)
        return;
    add_all(j->call, d->response_headers, d->n_response_headers, connect_add_header);
    add_all(j->call, d->response_trailers, d->n_response_trailers, connect_add_trailer);
    j->due_us += d->response_delay_ms * MSEC_US;
}

static void on_call(void *arg, struct connect_call *call)
{
    struct server *s = arg;
    const char *name = connect_method(call)->name;

    if (strcmp(name, "Unimplemented") == 0) {
        connect_fail_text(call, ERR_UNIMPLEMENTED, "it is not");
        return;
    }
    struct job *j = must(arena_alloc(arena_of(call), sizeof(*j)));
    *j = (struct job){ .call = call, .due_us = clock_monotonic_us(), .next = s->jobs };
    if (s->jobs)
        s->jobs->prev = j;
    s->jobs = j;
    connect_set_data(call, j);
    if (connect_method(call)->server_stream)
        ask_stream(j);
    else
        ask_unary(j);
}

static void on_gone(void *arg, struct connect_call *call)
{
    forget(arg, connect_data(call));
}

static void on_request(void *arg, struct http_exchange *x)
{
    struct server *s = arg;
    connect_handle(s->connect, x);
}

static void on_left(void *arg, struct http_exchange *x)
{
    struct server *s = arg;
    connect_gone(s->connect, x);
}

static void on_drained(void *arg, struct http_exchange *x)
{
    struct server *s = arg;
    connect_drained(s->connect, x);
}

/* --- start and end ----------------------------------------------------------------------------- */

static bool read_start(struct arena *a, PbStart **out)
{
    uint32_t size;
    ProtobufCMessage *m = NULL;
    struct wire_fault fault;

    if (fread(&size, sizeof(size), 1, stdin) != 1)
        return false;
    size = ntohl(size);
    uint8_t *bytes = must(arena_alloc(a, size));
    if (fread(bytes, 1, size, stdin) != size ||
        wire_unpack(&connectrpc__conformance__v1__server_compat_request__descriptor, bytes, size,
                    &wire_limits_internal, a, &m, &fault))
        return false;
    *out = (PbStart *)m;
    return true;
}

static void write_started(struct arena *a, uint16_t port)
{
    PbStarted started = CONNECTRPC__CONFORMANCE__V1__SERVER_COMPAT_RESPONSE__INIT;
    char host[] = "127.0.0.1";
    uint8_t *bytes = NULL;
    size_t len;

    started.host = host;
    started.port = port;
    if (wire_pack(&started.base, a, &bytes, &len))
        must(NULL);
    uint32_t size = htonl((uint32_t)len);
    fwrite(&size, sizeof(size), 1, stdout);
    fwrite(bytes, 1, len, stdout);
    fflush(stdout);
}

static int wait_ms(const struct server *s)
{
    int64_t now_us = clock_monotonic_us();
    int64_t us = MIN(http_loop_wait_us(s->loop), connect_wait_us(s->connect, now_us));

    us = MIN(us, jobs_wait_us(s, now_us));
    return us > MINUTE_US ? 60000 : (int)((us + MSEC_US - 1) / MSEC_US);
}

static void serve(struct server *s, int signals)
{
    struct pollfd fds[] = { { .fd = http_loop_fd(s->loop), .events = POLLIN },
                            { .fd = signals, .events = POLLIN } };

    while (!fds[1].revents) {
        (void)poll(fds, ARRAY_LEN(fds), wait_ms(s));
        http_loop_run(s->loop);
        connect_tick(s->connect, clock_monotonic_us());
        run_due(s, clock_monotonic_us());
    }
}

static int signals_fd(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_CLOEXEC);
}

int main(void)
{
    CLEANUP(arena_freep) struct arena *a = must(arena_new(MIB));
    struct server s = { 0 };
    PbStart *start;
    int signals = signals_fd();

    if (signals < 0 || sodium_init() < 0 || !read_start(a, &start)) {
        fputs("conformance_server: no ServerCompatRequest on stdin\n", stderr);
        return 1;
    }
    schema_init();
    size_t message_max =
        start->message_receive_limit ? start->message_receive_limit : wire_limits_default.max_bytes;
    s.connect = must(connect_new(&(struct connect_config){
        .message_max = message_max, .on_call = on_call, .on_gone = on_gone, .arg = &s }));
    s.loop = http_loop_new(
        "127.0.0.1:0", &http_limits_default,
        &(struct http_handler){
            .handle = on_request, .gone = on_left, .drained = on_drained, .arg = &s });
    if (!s.loop)
        return 1;
    write_started(a, http_loop_port(s.loop));
    serve(&s, signals);
    http_loop_free(s.loop);
    connect_free(s.connect);
    schema_fini();
    close(signals);
    return 0;
}
