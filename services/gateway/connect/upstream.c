/*
 * upstream.c - see upstream.h.
 *
 * The sockets have IMMEDIATE set: what no bus takes stays here, in order, for a second at most, so
 * that a bus that is started anew costs nobody his request (F02).
 *
 * Each bus has a socket of its own. One that stops says DRAINING to whatever it has not begun: that
 * goes out again, and for a while nothing more goes to a bus that has said so. A socket for all
 * would send by turns, until the connection ends under a request (F09). While the other bus is still away, it waits for
 * that for half a second before the same one is asked again.
 *
 * Of several buses, each is asked every second whether it is there (mmi.service, which it answers itself), an only one
 * when calls expire. One of several that says nothing for three seconds gets no calls while another one does. What was
 * sent there, or by a connection that has ended, goes out again by the other one, or the same when it is back, if it may
 * be done twice (F02, F32).
 */
#include "services/gateway/connect/upstream.h"

#include <assert.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <zmq.h>

#include "common/bus_monitor.h"
#include "common/bus_peers.h"
#include "common/bus_request.h"
#include "common/bus_worker.h"
#include "common/clock.h"
#include "common/id.h"
#include "common/log.h"
#include "common/mdp.h"
#include "common/pb_access.h"
#include "common/retry.h"
#include "common/schema.h"

#define BUCKETS 4096
#define TAKE_MAX_US SECOND_US
#define HOLD_US (TAKE_MAX_US / 2)
#define SWEEP_US (100 * MSEC_US)
#define ANSWER_ARENA (8 * MIB)
#define BURST 256
#define SHUN_US (5 * SECOND_US) /* longer than a bus stays that stops */
#define BEAT_US SECOND_US
#define BEATS_MISSED 3
#define STILL_US (2 * BEAT_US) /* without a sweep, of which one comes each second at least */
#define ASKED_FOR "daybook.bus.v1.EventService" /* any name would do */
#define SILENT_US                                                                                  \
    (5 * SECOND_US) /* after the first call that expires, the next one gives the connection up */

struct link {
    void *socket;
    struct bus_peers *peers; /* one: by the name of the bus */
    char *endpoint;
    int64_t shunned_until_us;
    int64_t silent_us; /* since when calls expire and nothing comes; 0: not so */
    int64_t beat_us;   /* when it is asked again whether it is there */
    int64_t owes_us;   /* since when it has not answered that; 0: it has */
    int64_t anew_us;   /* not connected to anew before, since it says nothing */
    void *monitor;     /* of its connections; nothing can be sent when its queue is full, either */
    int connection;    /* which one it is: counted as they begin */
    int ended;         /* the last one that has ended: what was sent by it is lost */
};

struct upstream_call {
    struct upstream_call *next_bucket;
    struct upstream_call *next, *prev; /* of the list that it is in */
    bool waits;                        /* in that of those not sent yet, else of those sent */
    int tries;                         /* that it was sent */
    struct link *link;                 /* by which, at last */
    int connection;                    /* by which one of its */
    bool repeatable;                   /* it may be done twice */
    bool lost;                         /* with a bus that had taken it, and may have done it */
    struct upstream_request request;   /* without its message */
    int64_t take_before_us;
    int64_t hold_until_us[BUS_WORKER_BUSES_MAX]; /* it was refused by that bus: not there before */
    upstream_done_fn *done;
    void *arg;
    zmq_msg_t message;
};

struct calls {
    struct upstream_call *first, *last;
};

struct upstream {
    struct link links[BUS_WORKER_BUSES_MAX];
    size_t nlinks, turn; /* turn: whose it is */
    int fd;              /* an epoll of theirs */
    struct arena *arena; /* of the answer at hand */
    struct upstream_call *buckets[BUCKETS];
    struct calls waiting, sent;
    size_t open;
    int64_t sweep_us;
    bool more; /* answers that the last run has not taken */
};

/* --- life --------------------------------------------------------------------------------------- */

static bool open_link(struct upstream *u, void *zmq_context, const struct bus_address *address,
                      const char *endpoint)
{
    void *socket = zmq_socket(zmq_context, ZMQ_DEALER);
    struct epoll_event event = { .events = EPOLLIN };
    int fd = -1, reconnect_ms = HOLD_US / MSEC_US; /* at least once while calls wait for it */
    size_t size = sizeof(fd);

    if (!socket)
        return false;
    struct link *l = &u->links[u->nlinks++];
    *l = (struct link){ .socket = socket, .endpoint = strdup(endpoint), .connection = 1 };
    return l->endpoint && bus_socket_prepare(socket, address) &&
           zmq_setsockopt(socket, ZMQ_RECONNECT_IVL_MAX, &reconnect_ms, sizeof(reconnect_ms)) ==
               0 &&
           (l->monitor = bus_monitor_open(zmq_context, socket,
                                          ZMQ_EVENT_CONNECTED | ZMQ_EVENT_DISCONNECTED)) &&
           (l->peers = bus_peers_new(socket, endpoint)) &&
           zmq_getsockopt(socket, ZMQ_FD, &fd, &size) == 0 &&
           epoll_ctl(u->fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

static bool open_links(struct upstream *u, void *zmq_context, const struct bus_address *address)
{
    char *endpoints = strdup(address->endpoint);
    char *save = NULL;
    bool ok = endpoints != NULL;

    for (char *one = ok ? strtok_r(endpoints, ",", &save) : NULL; ok && one;
         one = strtok_r(NULL, ",", &save))
        ok = u->nlinks < ARRAY_LEN(u->links) && open_link(u, zmq_context, address, one);
    free(endpoints);
    return ok && u->nlinks > 0;
}

struct upstream *upstream_new(void *zmq_context, const struct bus_address *address)
{
    struct upstream *u = calloc(1, sizeof(*u));

    if (!u)
        return NULL;
    u->arena = arena_new(ANSWER_ARENA);
    u->fd = epoll_create1(EPOLL_CLOEXEC);
    if (u->arena && u->fd >= 0 && open_links(u, zmq_context, address))
        return u;
    upstream_free(u);
    return NULL;
}

static void append(struct calls *list, struct upstream_call *c)
{
    c->next = NULL;
    c->prev = list->last;
    if (list->last)
        list->last->next = c;
    else
        list->first = c;
    list->last = c;
}

static void take_out(struct calls *list, struct upstream_call *c)
{
    if (c->next)
        c->next->prev = c->prev;
    else
        list->last = c->prev;
    if (c->prev)
        c->prev->next = c->next;
    else
        list->first = c->next;
}

static struct upstream_call **place_of(struct upstream *u, struct id id)
{
    struct upstream_call **at = &u->buckets[id_hash(id) % BUCKETS];

    while (*at && !id_equal((*at)->request.request_id, id))
        at = &(*at)->next_bucket;
    return at;
}

/* Where there is one bus, it may stand still, and has what was sent. */
static void connect_anew(const struct upstream *u, struct link *l)
{
    l->silent_us = 0;
    if (u->nlinks > 1)
        l->ended = l->connection;
    l->connection++;
    bool ok = bus_peers_reconnect(l->peers);
    log_warn("gateway.bus_silent", "no answer comes from the bus: it is connected to anew", "bus",
             l->endpoint, "ok", ok ? "yes" : "no", NULL);
}

/* Frozen, or without a processor, we have heard nobody: whoever is silent begins to be so now (F32). */
static void forgive_standstill(struct upstream *u, int64_t now_us)
{
    if (now_us - u->sweep_us < STILL_US)
        return;
    for (size_t i = 0; i < u->nlinks; i++) {
        struct link *l = &u->links[i];
        l->owes_us = l->owes_us ? now_us : 0;
        l->silent_us = l->silent_us ? now_us : 0;
    }
}

/* A connection may be one that only we believe in (F26, F32). A service that hangs while nobody asks for
 * anything else looks the same, but for the bus's answer whether it is there. */
static void notice_silence(struct upstream *u, const struct upstream_call *c)
{
    int64_t now_us = clock_monotonic_us();
    struct link *l = c->link;

    if (c->waits || c->request.deadline_us > now_us)
        return;
    forgive_standstill(u, now_us);
    if (!l->silent_us)
        l->silent_us = now_us;
    if (now_us - l->silent_us >= SILENT_US)
        connect_anew(u, l);
}

void upstream_forget(struct upstream *u, struct upstream_call *c)
{
    struct upstream_call **at = place_of(u, c->request.request_id);

    assert(*at == c);
    notice_silence(u, c); /* whoever noticed first that its time is up, we or the caller */
    *at = c->next_bucket;
    take_out(c->waits ? &u->waiting : &u->sent, c);
    zmq_msg_close(&c->message);
    free(c);
    u->open--;
}

void upstream_free(struct upstream *u)
{
    if (!u)
        return;
    while (u->waiting.first)
        upstream_forget(u, u->waiting.first);
    while (u->sent.first)
        upstream_forget(u, u->sent.first);
    for (size_t i = 0; i < u->nlinks; i++) {
        bus_monitor_close(u->links[i].socket, u->links[i].monitor);
        zmq_close(u->links[i].socket);
        bus_peers_free(u->links[i].peers);
        free(u->links[i].endpoint);
    }
    if (u->fd >= 0)
        close(u->fd);
    arena_free(u->arena);
    free(u);
}

int upstream_fd(const struct upstream *u)
{
    return u->fd;
}

size_t upstream_open(const struct upstream *u)
{
    return u->open;
}

/* Reading them uses up the edge of the descriptor: whoever waits for either looks at one reading. */
static int events_of(const struct link *l)
{
    int events = 0;
    size_t size = sizeof(events);
    if (zmq_getsockopt(l->socket, ZMQ_EVENTS, &events, &size) != 0)
        return 0;
    return events;
}

static bool is_silent(const struct link *l, int64_t now_us)
{
    return l->owes_us && now_us - l->owes_us >= BEATS_MISSED * BEAT_US;
}

/* The bus has just refused it, and another one may be there within a moment, or the same anew. */
static bool is_held(const struct upstream *u, const struct upstream_call *c, const struct link *l,
                    int64_t now_us)
{
    bool anew = c->link == l && c->connection <= l->ended;
    return now_us < c->hold_until_us[l - u->links] && !anew;
}

static bool is_held_by_any(const struct upstream_call *c, int64_t now_us)
{
    for (size_t i = 0; i < ARRAY_LEN(c->hold_until_us); i++)
        if (now_us < c->hold_until_us[i])
            return true;
    return false;
}

/* Longer than any other time: one that says nothing comes after one that stops. */
static int64_t shunned_until_us(const struct link *l, int64_t now_us)
{
    return is_silent(l, now_us) ? INT64_MAX : l->shunned_until_us;
}

/* By turns, of those that take requests and have not just refused this one; one that stops only when there is no
 * other, and then the one that has said so first: it may have been started anew since, while the other one stops. */
static struct link *pick(struct upstream *u, const struct upstream_call *c, int64_t now_us)
{
    struct link *last_resort = NULL;

    for (size_t i = 0; i < u->nlinks; i++) {
        struct link *l = &u->links[u->turn++ % u->nlinks];
        if (is_held(u, c, l, now_us) || !(events_of(l) & ZMQ_POLLOUT))
            continue;
        if (shunned_until_us(l, now_us) <= now_us)
            return l;
        if (!last_resort || shunned_until_us(l, now_us) < shunned_until_us(last_resort, now_us))
            last_resort = l;
    }
    return last_resort;
}

bool upstream_is_connected(struct upstream *u)
{
    for (size_t i = 0; i < u->nlinks; i++)
        if (events_of(&u->links[i]) & ZMQ_POLLOUT)
            return true;
    return false;
}

/* --- asking ------------------------------------------------------------------------------------- */

/* It has a key, or changes nothing. */
static bool is_repeatable(const struct upstream_request *r)
{
    const struct schema_method *m = schema_find_method(r->service, r->method);
    return (m && m->no_side_effects) || (r->idempotency_key && *r->idempotency_key);
}

struct upstream_call *upstream_ask(struct upstream *u, const struct upstream_request *request,
                                   upstream_done_fn *done, void *arg)
{
    struct upstream_call *c =
        request->principal ? calloc(1, sizeof(*c)) : NULL; /* what nobody asks would be our own */

    if (!c || zmq_msg_init_size(&c->message, request->len) != 0) {
        free(c);
        return NULL;
    }
    if (request->len)
        memcpy(zmq_msg_data(&c->message), request->message, request->len);
    c->request = *request;
    c->request.message = NULL;
    c->repeatable = is_repeatable(request);
    c->done = done;
    c->arg = arg;
    c->take_before_us = MIN(request->deadline_us, clock_monotonic_us() + TAKE_MAX_US);
    struct upstream_call **bucket = place_of(u, request->request_id);
    c->next_bucket = *bucket;
    *bucket = c;
    c->waits = true;
    append(&u->waiting, c);
    u->open++;
    return c;
}

/* With the milliseconds that are left now. */
static bool pack_context(const struct upstream_request *r, zmq_msg_t *frame)
{
    union {
        const PbPrincipal *in;
        PbPrincipal *out;
    } principal = { .in = r->principal };
    PbCallContext context = DAYBOOK__COMMON__V1__CALL_CONTEXT__INIT;
    char id[ID_TEXT_MAX];
    int64_t left_ms = (r->deadline_us - clock_monotonic_us()) / MSEC_US;

    context.request_id = id_text(r->request_id, id);
    context.principal = principal.out;
    context.deadline_ms = (uint32_t)MAX(1, MIN(left_ms, UINT32_MAX));
    context.traceparent = pb_borrow(r->traceparent);
    context.tracestate = pb_borrow(r->tracestate);
    context.idempotency_key = pb_borrow(r->idempotency_key);
    context.remote_address = pb_borrow(r->remote_address);
    return bus_request_pack(frame, &context.base);
}

static bool send_call(struct link *l, struct upstream_call *c)
{
    zmq_msg_t context, message;

    if (!pack_context(&c->request, &context))
        return false;
    zmq_msg_init(&message);
    bool sent =
        zmq_msg_copy(&message, &c->message) == 0 && /* shares it: there may be another try */
        bus_request_send(l->socket, c->request.service, c->request.method, &context, &message);
    zmq_msg_close(&message);
    zmq_msg_close(&context);
    c->tries += sent;
    return sent;
}

static void finish(struct upstream *u, struct upstream_call *c, const struct upstream_answer *a)
{
    upstream_done_fn *done = c->done;
    void *arg = c->arg;

    upstream_forget(u, c);
    done(arg, a);
}

/* A connection is said to begin after the last one is gone and before anything can be sent by it: what is sent after a
 * look is of the one that is counted, though that may have ended. */
static void follow_connection(struct link *l)
{
    uint16_t event;

    while (bus_monitor_next(l->monitor, &event))
        if (event == ZMQ_EVENT_CONNECTED)
            l->connection++;
        else if (event == ZMQ_EVENT_DISCONNECTED)
            l->ended = l->connection;
}

/* Who is held may wait for longer than those behind him. */
static struct upstream_call *find_untaken(const struct upstream *u, int64_t now_us)
{
    for (struct upstream_call *c = u->waiting.first; c; c = c->next)
        if (c->take_before_us <= now_us)
            return c;
    return NULL;
}

static void end_untaken(struct upstream *u)
{
    int64_t now_us = u->waiting.first ? clock_monotonic_us() : 0;

    for (struct upstream_call *c; (c = find_untaken(u, now_us));)
        finish(
            u, c,
            &(struct upstream_answer){ .code = c->lost ? ERR_DEADLINE_EXCEEDED : ERR_UNAVAILABLE });
}

void upstream_send(struct upstream *u)
{
    int64_t began_us = u->waiting.first ? clock_monotonic_us() : 0;
    struct upstream_call *next;

    for (size_t i = 0; i < u->nlinks; i++)
        follow_connection(&u->links[i]);
    for (struct upstream_call *c = u->waiting.first; c; c = next) {
        next = c->next;
        struct link *l = pick(u, c, began_us);
        if (!l && is_held_by_any(c, began_us))
            continue; /* who comes behind it need not wait */
        if (!l || !send_call(l, c))
            break;
        take_out(&u->waiting, c);
        c->waits = false;
        c->link = l;
        c->connection = l->connection;
        append(&u->sent, c);
    }
    end_untaken(u);
}

/* --- answers ------------------------------------------------------------------------------------ */

static bool may_again(const struct upstream_call *c, int64_t now_us)
{
    return !c->waits && c->tries < BUS_REQUEST_TRIES && c->request.deadline_us > now_us;
}

/* An only bus refuses for a second before it ends. */
static void hold(const struct upstream *u, struct upstream_call *c, int64_t now_us)
{
    int64_t hold_us = u->nlinks > 1 ? HOLD_US : TAKE_MAX_US;

    hold_us = MIN(hold_us, (c->request.deadline_us - now_us) / 2);
    c->hold_until_us[c->link - u->links] = now_us + hold_us;
    if (u->nlinks == 1)
        c->take_before_us = MIN(c->request.deadline_us, now_us + hold_us + TAKE_MAX_US);
}

/* It waits for a bus anew, and for half a second for another one than it had. Where there is one bus, a replica may
 * have refused it, and the next is there; only what is refused again waits for the bus to be started anew. */
static void ask_again(struct upstream *u, struct upstream_call *c, int64_t now_us)
{
    take_out(&u->sent, c);
    c->take_before_us = MIN(c->request.deadline_us, now_us + TAKE_MAX_US);
    if (u->nlinks > 1 || c->tries > 1)
        hold(u, c, now_us);
    c->waits = true;
    append(&u->waiting, c);
}

/* Of a bus that was left: another one is at it, or will be. That it is done ends the call all the same. */
static bool is_late(const struct upstream_call *c, const struct link *l, const PbCallResult *r)
{
    return r->status && (c->waits || c->link != l);
}

/* Who is told that nothing was done asks again without a thought; the bus that is lost may have had it done. */
static bool is_in_doubt(const struct upstream_call *c, const PbCallResult *r)
{
    return c->lost && r->status &&
           (r->status->code == ERR_RESOURCE_EXHAUSTED || r->status->code == ERR_UNAVAILABLE);
}

static void end_call(struct upstream *u, struct upstream_call *c, const PbCallResult *r,
                     zmq_msg_t *message)
{
    if (is_in_doubt(c, r)) {
        finish(u, c, &(struct upstream_answer){ .code = ERR_DEADLINE_EXCEEDED });
        return;
    }
    if (c->tries == 1 && !r->status)
        retry_budget_earn(retry_budget());
    finish(u, c,
           &(struct upstream_answer){
               .result = r, .message = zmq_msg_data(message), .len = zmq_msg_size(message) });
}

static void take_answer(struct upstream *u, struct link *l, struct bus_frames *f)
{
    const PbCallResult *r = bus_request_result(f, u->arena);
    int64_t now_us = clock_monotonic_us();
    struct id id;

    if (!r || !id_parse(r->request_id, &id))
        return;
    struct upstream_call *c = *place_of(u, id);
    bool drains = bus_request_met_drain(r, u->arena);
    if (drains) /* a replica may have said it in its bus's place: then that rests for nothing, no more */
        l->shunned_until_us = now_us + SHUN_US;
    if (!c || is_late(c, l, r))
        return;
    if (drains && may_again(c, now_us)) {
        ask_again(u, c, now_us);
        retry_count(RETRY_DRAINING);
    } else {
        end_call(u, c, r, &f->frame[4]);
    }
}

static struct upstream_call *find_expired(const struct upstream *u, int64_t now_us)
{
    for (struct upstream_call *c = u->sent.first; c; c = c->next)
        if (c->request.deadline_us <= now_us)
            return c;
    return NULL;
}

/* --- whether it is there ------------------------------------------------------------------------ */

static bool send_question(struct link *l)
{
    return bus_send(l->socket, MDP_CLIENT_02, MDP_HEADER_LEN, true) &&
           bus_send_byte(l->socket, MDP02_C_REQUEST, true) &&
           bus_send(l->socket, MMI_SERVICE, strlen(MMI_SERVICE), true) &&
           bus_send(l->socket, ASKED_FOR, strlen(ASKED_FOR), false);
}

/* An only one gets the calls whatever it owes: any answer says that it is not silent, and that is all. */
static void ask_whether_there(const struct upstream *u, struct link *l, int64_t now_us)
{
    if (now_us < l->beat_us || !(events_of(l) & ZMQ_POLLOUT) || !send_question(l))
        return;
    l->beat_us = now_us + BEAT_US;
    if (u->nlinks > 1 && !l->owes_us)
        l->owes_us = now_us;
}

static bool is_lost(const struct upstream_call *c, int64_t now_us)
{
    return c->connection <= c->link->ended || is_silent(c->link, now_us);
}

/* What is lost there goes out by another bus, within the budget for repeats: what that does not pay waits for the
 * next sweep. */
static void leave_link(struct upstream *u, const struct link *l, int64_t now_us)
{
    struct upstream_call *next;

    for (struct upstream_call *c = u->sent.first; c; c = next) {
        next = c->next;
        if (c->link != l || !c->repeatable || !is_lost(c, now_us) || !may_again(c, now_us))
            continue;
        if (!retry_budget_take(retry_budget(), now_us))
            return;
        c->lost = true;
        ask_again(u, c, now_us);
        retry_count(RETRY_BUS_LOST);
    }
}

static bool is_there(struct link *l, int64_t now_us)
{
    return !is_silent(l, now_us) && (events_of(l) & ZMQ_POLLOUT);
}

static bool is_any_there(struct upstream *u, int64_t now_us)
{
    for (size_t i = 0; i < u->nlinks; i++)
        if (is_there(&u->links[i], now_us))
            return true;
    return false;
}

/* A bus that stands still, or is far behind, may yet answer what nobody can ask again. A new connection has another
 * routing id, and no way for such answers. */
static bool may_be_answered_yet(const struct upstream *u, const struct link *l, int64_t now_us)
{
    for (const struct upstream_call *c = u->sent.first; c; c = c->next)
        if (c->link == l && c->connection > l->ended && !c->repeatable &&
            c->request.deadline_us > now_us)
            return true;
    return false;
}

static void tend_link(struct upstream *u, struct link *l, int64_t now_us)
{
    if (u->nlinks > 1 || l->silent_us)
        ask_whether_there(u, l, now_us);
    if (is_any_there(u, now_us))
        leave_link(u, l, now_us);
    if (is_silent(l, now_us) && now_us >= l->anew_us && !may_be_answered_yet(u, l, now_us)) {
        l->anew_us = now_us + SILENT_US;
        connect_anew(u, l);
    }
}

/* Requests and answers are lost where a bus or a service dies. A callback may end other calls, so
 * each is looked for anew. */
static void sweep(struct upstream *u)
{
    int64_t now_us = clock_monotonic_us();
    struct upstream_call *c;

    if (now_us < u->sweep_us)
        return;
    forgive_standstill(u, now_us);
    u->sweep_us = now_us + SWEEP_US;
    for (size_t i = 0; i < u->nlinks; i++)
        tend_link(u, &u->links[i], now_us);
    while ((c = find_expired(u, now_us)))
        finish(u, c, &(struct upstream_answer){ .code = ERR_DEADLINE_EXCEEDED });
}

/* Whether one that waits may go there. */
static bool has_for(const struct upstream *u, const struct link *l, int64_t now_us)
{
    const struct upstream_call *c = u->waiting.first;
    while (c && is_held(u, c, l, now_us))
        c = c->next;
    return c != NULL;
}

/* When one that waits has waited for long enough, or one that is held may go where it was refused. */
static int64_t waiting_until_us(const struct upstream *u, int64_t now_us)
{
    int64_t until_us = INT64_MAX;

    for (const struct upstream_call *c = u->waiting.first; c; c = c->next) {
        until_us = MIN(until_us, MAX(c->take_before_us, now_us));
        for (size_t i = 0; i < u->nlinks; i++)
            if (c->hold_until_us[i] > now_us)
                until_us = MIN(until_us, c->hold_until_us[i]);
    }
    return until_us;
}

int64_t upstream_wait_us(struct upstream *u)
{
    int64_t wait_us = INT64_MAX, now_us = clock_monotonic_us();

    if (u->more)
        return 0;
    for (size_t i = 0; i < u->nlinks; i++) {
        struct link *l = &u->links[i];
        int wanted = has_for(u, l, now_us) ? ZMQ_POLLIN | ZMQ_POLLOUT : ZMQ_POLLIN;
        if (events_of(l) & wanted)
            return 0;
        wait_us = MIN(wait_us, bus_peers_wait_us(l->peers));
        if (u->nlinks > 1 && (events_of(l) & ZMQ_POLLOUT))
            wait_us = MIN(wait_us, MAX(0, MAX(l->beat_us, u->sweep_us) - now_us));
    }
    if (u->sent.first)
        wait_us = MIN(wait_us, MAX(0, u->sweep_us - now_us));
    if (u->waiting.first)
        wait_us = MIN(wait_us, waiting_until_us(u, now_us) - now_us);
    return wait_us;
}

static int take_answers(struct upstream *u, struct link *l)
{
    struct bus_frames f;
    int n = 0;

    if (bus_peers_follow(l->peers))
        l->ended = l->connection++; /* it has moved */
    for (; n < BURST && bus_frames_receive(l->socket, &f); n++) {
        l->silent_us = l->owes_us = 0;
        take_answer(u, l, &f);
        bus_frames_close(&f);
        arena_reset(u->arena);
    }
    return n;
}

void upstream_run(struct upstream *u)
{
    u->more = false;
    for (size_t i = 0; i < u->nlinks; i++)
        if (take_answers(u, &u->links[i]) == BURST)
            u->more = true;
    sweep(u);
    upstream_send(u);
}
