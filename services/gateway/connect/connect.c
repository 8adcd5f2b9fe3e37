/*
 * connect.c - see connect.h: calls from their exchange to their handler, and their deadlines.
 */
#include "services/gateway/connect/connect_internal.h"

#include "common/clock.h"

#define SCRATCH_BYTES (24 * MIB)
#define ROOM_US SECOND_US /* until there may be room for a body again */

struct connect *connect_new(const struct connect_config *config)
{
    struct connect *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    c->scratch = arena_new(SCRATCH_BYTES);
    if (!c->scratch) {
        free(c);
        return NULL;
    }
    c->config = *config;
    c->next_us = INT64_MAX;
    return c;
}

void connect_free(struct connect *c)
{
    if (c)
        arena_free(c->scratch);
    free(c);
}

const struct schema_method *connect_find(const char *path)
{
    char service[256];
    const char *slash = *path == '/' ? strchr(path + 1, '/') : NULL;

    if (!slash || (size_t)(slash - path) > sizeof(service))
        return NULL;
    size_t len = (size_t)(slash - path) - 1;
    memcpy(service, path + 1, len);
    service[len] = '\0';
    return schema_find_method(service, slash + 1);
}

/* --- deadlines ---------------------------------------------------------------------------------- */

static void forget_deadline(struct connect_call *call)
{
    struct connect *c = call->connect;

    if (!call->timed)
        return;
    call->timed = false;
    if (call->next)
        call->next->prev = call->prev;
    if (call->prev)
        call->prev->next = call->next;
    else
        c->timed = call->next;
}

void connect_set_deadline(struct connect_call *call, int64_t deadline_us)
{
    struct connect *c = call->connect;

    call->deadline_us = deadline_us;
    c->next_us = MIN(c->next_us, deadline_us);
    if (call->timed || call->over)
        return;
    call->timed = true;
    call->prev = NULL;
    call->next = c->timed;
    if (c->timed)
        c->timed->prev = call;
    c->timed = call;
}

static void give_up(struct connect_call *call)
{
    struct connect *c = call->connect;

    if (call->handed && c->config.on_gone)
        c->config.on_gone(c->config.arg, call);
    connect_fail_text(call, ERR_DEADLINE_EXCEEDED, CONNECT_TIME_IS_UP);
}

void connect_tick(struct connect *c, int64_t monotonic_us)
{
    if (monotonic_us < c->next_us)
        return;
    c->next_us = INT64_MAX;
    for (struct connect_call *call = c->timed, *next; call; call = next) {
        next = call->next; /* ends one call; what its owner then ends of others is over */
        if (call->over)
            continue;
        if (call->deadline_us <= monotonic_us)
            give_up(call);
        else
            c->next_us = MIN(c->next_us, call->deadline_us);
    }
}

int64_t connect_wait_us(const struct connect *c, int64_t monotonic_us)
{
    return c->timed ? MAX(0, c->next_us - monotonic_us) : INT64_MAX;
}

/* --- calls -------------------------------------------------------------------------------------- */

void connect_over(struct connect_call *call)
{
    forget_deadline(call);
    call->over = true;
}

static struct connect_call *begin(struct connect *c, struct http_exchange *x)
{
    struct connect_call *call = arena_alloc(http_arena(x), sizeof(*call));

    if (!call)
        return NULL;
    *call = (struct connect_call){ .connect = c, .x = x, .method = connect_find(http_path(x)) };
    return call;
}

static void fail_unreadable(struct connect_call *call, const struct connect_failure *f)
{
    struct connect *c = call->connect;

    if (c->config.on_unreadable)
        c->config.on_unreadable(c->config.arg, call, f->code);
    connect_fail_as(call, f);
}

/* Of no use to anybody while others' bodies fill the budget. */
static void fail_without_room(struct connect_call *call)
{
    fail_unreadable(call, &(struct connect_failure){
                              .code = ERR_RESOURCE_EXHAUSTED,
                              .reason = "NO_ROOM",
                              .text = "the requests under way hold all memory there is for them; "
                                      "nothing was done: send it again",
                              .wait_us = ROOM_US });
}

/* By its header. False: it was answered. */
static bool is_admitted(struct connect_call *call)
{
    struct connect *c = call->connect;
    struct connect_refusal refusal = { 0 };
    const char *text = NULL;

    enum err e = connect_read_header(call, &refusal, &text);
    if (refusal.status) {
        connect_refuse(call->x, &c->config, &refusal);
        return false;
    }
    http_set_data(call->x, call);
    if (e)
        fail_unreadable(call, &(struct connect_failure){ .code = e, .text = text });
    return !e && (!c->config.admit || c->config.admit(c->config.arg, call));
}

static void take(struct connect_call *call)
{
    struct connect *c = call->connect;
    struct wire_fault fault = { 0 };
    const char *text = NULL;

    enum err e = connect_read_message(call, &text, &fault);
    if (http_fault(call->x) == HTTP_NO_ROOM) {
        fail_without_room(call);
        return;
    }
    if (e) {
        fail_unreadable(call,
                        &(struct connect_failure){ .code = e, .text = text, .fault = &fault });
        return;
    }
    if (call->timeout_us)
        connect_set_deadline(call, clock_monotonic_us() + call->timeout_us);
    call->handed = true;
    c->config.on_call(c->config.arg, call);
}

void connect_open(struct connect *c, struct http_exchange *x)
{
    struct connect_call *call;

    if (http_method(x) == HTTP_OPTIONS || !connect_find(http_path(x))) {
        http_drop_body(x); /* it is a matter of connect_handle(), and of no body */
        return;
    }
    call = begin(c, x);
    if (!call)
        connect_refuse(x, &c->config, &(struct connect_refusal){ .status = 503 });
    else if (is_admitted(call) && !http_has_room(x))
        fail_without_room(call);
}

void connect_handle(struct connect *c, struct http_exchange *x)
{
    struct connect_call *call = http_data(x);

    if (call) {
        if (!call->over)
            take(call); /* was admitted with its header */
        return;
    }
    call = begin(c, x);
    if (http_method(x) == HTTP_OPTIONS)
        connect_preflight(x, &c->config);
    else if (!call)
        connect_refuse(x, &c->config, &(struct connect_refusal){ .status = 503 });
    else if (http_fault(x) == HTTP_URL_TOO_LONG)
        connect_refuse(x, &c->config, &(struct connect_refusal){ .status = 414 });
    else if (http_fault(x) == HTTP_TOO_MANY_HEADERS)
        connect_refuse(x, &c->config, &(struct connect_refusal){ .status = 431 });
    else if (!call->method)
        connect_refuse(x, &c->config, &(struct connect_refusal){ .status = 404 });
    else if (is_admitted(call))
        take(call);
}

void connect_gone(struct connect *c, struct http_exchange *x)
{
    struct connect_call *call = http_data(x);

    if (!call || call->over)
        return;
    connect_over(call);
    if (call->handed && c->config.on_gone)
        c->config.on_gone(c->config.arg, call);
}

void connect_drained(struct connect *c, struct http_exchange *x)
{
    struct connect_call *call = http_data(x);

    if (call && !call->over && c->config.on_drained)
        c->config.on_drained(c->config.arg, call);
}

const struct schema_method *connect_method(const struct connect_call *call)
{
    return call->method;
}

struct http_exchange *connect_exchange(const struct connect_call *call)
{
    return call->x;
}

bool connect_is_over(const struct connect_call *call)
{
    return call->over;
}

bool connect_is_json(const struct connect_call *call)
{
    return call->codec == CONNECT_JSON;
}

bool connect_is_get(const struct connect_call *call)
{
    return call->is_get;
}

const void *connect_message(const struct connect_call *call, size_t *len_out)
{
    *len_out = call->len;
    return call->message;
}

void connect_message_copied(struct connect_call *call)
{
    call->message = "";
    call->len = 0;
    http_body_copied(call->x);
}

int64_t connect_timeout_us(const struct connect_call *call)
{
    return call->timeout_us;
}

void connect_set_data(struct connect_call *call, void *data)
{
    call->data = data;
}

void *connect_data(const struct connect_call *call)
{
    return call->data;
}
