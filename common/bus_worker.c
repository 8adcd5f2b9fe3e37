/*
 * bus_worker.c - links and slots.
 *
 * A link that loses its connection gets a new socket, as MDP asks, so nothing sent before can be
 * taken for something after it. An answer whose link was renewed meanwhile is dropped: the bus has
 * given that request up and would drop it itself. READY is not said again before the worker is done
 * with the old request, since one worker has one request at a time.
 *
 * Loss is noticed by the socket's monitor at once, by the bus's DISCONNECT (an answer to a
 * heartbeat that it cannot place, after its restart), or by silence. When the loop itself stood
 * still for so long that the bus may have missed it (SIGSTOP, F08), all links are renewed before
 * anything is read: the requests queued in them may have been given to others. Behind a request that
 * is in work none is queued, and its answer is the bus's to take or to drop.
 *
 * A network may hold back what both sides say, and then give all of it (F32). So a request says how
 * many of our messages the bus had read by then: from the last of them on it had patience for three
 * beats, and what comes later than that is not begun.
 *
 * The loop polls the sockets' descriptors, and only those that it found are read: asking each
 * socket costs two system calls, with a dozen of them more than the rest of a request's way. Such a
 * descriptor tells of changes only, and sending swallows them (protocols G.2), so after each send
 * and until nothing is left a link is looked at unasked.
 */
#include "common/bus_worker.h"

#include <assert.h>
#include <sodium.h>

#include "common/bus_frames.h"
#include "common/bus_monitor.h"
#include "common/bus_peers.h"
#include "common/log.h"
#include "common/mdp.h"
#include "common/metrics.h"
#include "common/resolve.h"

#define HEARTBEAT_US (MDP_HEARTBEAT_MS * MSEC_US)
#define EXPIRY_US (MDP_EXPIRY_MS * MSEC_US)
/* The bus waits for three beats, and the last may have been one before we stood still. */
#define STALL_US (2 * HEARTBEAT_US)
/* What begins later may be another worker's by now. */
#define FRESH_US (MDP_BEATS_MISSED * HEARTBEAT_US - 200 * MSEC_US)
/* When our messages were said: as many as the bus's patience may need, no closer to each other than this. */
#define SAID_MAX 16
#define SAID_EVERY_US (250 * MSEC_US)
#define BACKOFF_BASE_US (100 * MSEC_US)
#define BACKOFF_CAP_US (5 * SECOND_US)
/* How long a request may be on its way that crosses our DISCONNECT. */
#define LEAVE_GRACE_US (250 * MSEC_US)
/* How often a name is asked for whose address is not known yet: one that is found at all is found soon. */
#define UNKNOWN_US (50 * MSEC_US)
#define UNKNOWN_LONG_US (250 * MSEC_US)
#define UNKNOWN_SOON 40 /* times */
#define READ_BURST 64
#define ADDR_MAX 255

enum link_state { LINK_OFF, LINK_BACKOFF, LINK_CONNECTING, LINK_UP, LINK_LEAVING };
enum job_state { JOB_FREE, JOB_WAITING, JOB_RUNNING };

struct slot;

struct link {
    struct slot *slot;
    const char *endpoint; /* as it was named */
    const struct resolve *name;
    uint64_t name_generation; /* the address that it was opened with */
    enum link_state state;
    void *socket;
    void *monitor;
    int fd, monitor_fd;
    const zmq_pollitem_t *item, *monitor_item; /* what is being polled; NULL: nothing */
    bool look, look_monitor;                   /* read, whatever the poll says */
    uint64_t generation;                       /* counts sockets */
    unsigned attempt;                          /* since the bus last spoke */
    unsigned unknown;                          /* how often the name had no address */
    int64_t retry_at_us;                       /* BACKOFF */
    int64_t beat_at_us, heard_at_us;
    uint32_t nsaid; /* messages on this connection */
    struct said {
        uint32_t number; /* from 1 */
        int64_t at_us;
    } said[SAID_MAX]; /* the last ones, in a ring */
    size_t said_next;
    int64_t leave_at_us; /* LEAVING: may close from then on */

    enum job_state job_state;
    struct pool_job job;
    uint64_t job_generation;
    int64_t job_arrived_us, fresh_until_us;
    uint8_t addr[ADDR_MAX]; /* return address of the request */
    size_t addr_len;
};

struct slot {
    size_t index;
    struct link *links; /* one a bus */
    struct link *running;
};

struct bus_worker {
    struct bus_worker_def def;
    char *endpoints; /* with NULs for commas */
    size_t nbuses;
    struct resolve *names[BUS_WORKER_BUSES_MAX];
    struct slot *slots;
    struct link *links; /* nslots * nbuses, slot by slot */
    size_t nlinks;
    bool enlisted;
    int64_t served_at_us;
};

static struct metric link_lost_total = {
    .name = "daybook_bus_link_lost_total",
    .type = METRIC_COUNTER,
    .help = "Connections to the bus that were given up.",
    .labels = { "reason" },
};
static struct metric refused_total = {
    .name = "daybook_bus_worker_dropped_total",
    .type = METRIC_COUNTER,
    .help = "Messages from the bus that were not understood, and answers that came too late.",
    .labels = { "reason" },
};

static void count_dropped(const char *reason)
{
    metric_add(&refused_total, 1, (const char *const[]){ reason });
}

/* --- jobs ------------------------------------------------------------------------------------- */

static void close_request(struct pool_job *job)
{
    zmq_msg_close(&job->method);
    zmq_msg_close(&job->context);
    zmq_msg_close(&job->message);
}

/* --- how old a request is ----------------------------------------------------------------------- */

static void note_said(struct link *l, int64_t now_us)
{
    const struct said *last = &l->said[(l->said_next + SAID_MAX - 1) % SAID_MAX];
    l->nsaid++;
    if (last->number && now_us - last->at_us < SAID_EVERY_US)
        return;
    l->said[l->said_next] = (struct said){ .number = l->nsaid, .at_us = now_us };
    l->said_next = (l->said_next + 1) % SAID_MAX;
}

/* When we said at the latest what the bus had read, as far as that is known; INT64_MIN: too long ago. */
static int64_t said_at_us(const struct link *l, uint32_t number)
{
    int64_t at_us = INT64_MIN;
    for (size_t i = 0; i < SAID_MAX; i++) {
        const struct said *s = &l->said[i];
        if (s->number && (int32_t)(number - s->number) >= 0)
            at_us = MAX(at_us, s->at_us);
    }
    return at_us;
}

/* A bus that does not say what it has read gives nobody up so soon. */
static int64_t fresh_until_us(const struct link *l)
{
    if (l->addr_len != MDP_ADDRESS_SIZE)
        return INT64_MAX;
    uint32_t number = 0;
    for (size_t i = MDP_TOKEN_SIZE; i < MDP_ADDRESS_SIZE; i++)
        number = number << 8 | l->addr[i];
    int64_t at_us = said_at_us(l, number);
    return at_us == INT64_MIN ? at_us : at_us + FRESH_US;
}

/* While it waits, that the bus beats tells that it has patience still: it may have heard us a beat before. */
static bool may_begin(const struct link *l, int64_t now_us)
{
    return now_us < l->fresh_until_us || now_us - l->heard_at_us < FRESH_US - HEARTBEAT_US;
}

static void run_next(struct bus_worker *w, struct slot *slot, int64_t now_us)
{
    struct link *next = NULL;
    if (slot->running)
        return;
    for (size_t i = 0; i < w->nbuses; i++) {
        struct link *l = &slot->links[i];
        if (l->job_state == JOB_WAITING && may_begin(l, now_us) &&
            (!next || l->job_arrived_us < next->job_arrived_us))
            next = l;
    }
    if (!next)
        return;
    slot->running = next;
    next->job_state = JOB_RUNNING;
    next->job.waited_us = now_us - next->job_arrived_us;
    w->def.submit(w->def.arg, &next->job);
}

/* --- sockets ---------------------------------------------------------------------------------- */

static void close_sockets(struct link *l)
{
    bus_monitor_close(l->socket, l->monitor);
    if (l->socket)
        zmq_close(l->socket);
    l->socket = l->monitor = NULL;
    l->item = l->monitor_item = NULL;
    l->generation++;
    if (l->job_state == JOB_WAITING) {
        close_request(&l->job);
        l->job_state = JOB_FREE;
    }
}

static void back_off(struct link *l, int64_t now_us)
{
    unsigned doublings = MIN(l->attempt, 6u);
    int64_t most_us = MIN(BACKOFF_CAP_US, BACKOFF_BASE_US << doublings);
    l->attempt++;
    l->retry_at_us = now_us + randombytes_uniform((uint32_t)most_us);
    l->state = LINK_BACKOFF;
}

static void lose(struct link *l, const char *reason, int64_t now_us)
{
    metric_add(&link_lost_total, 1, (const char *const[]){ reason });
    log_info("bus.link_lost", "connection to the bus given up", "reason", reason, "bus",
             l->endpoint, NULL);
    close_sockets(l);
    back_off(l, now_us);
}

/* Tells of ended connections and refused keys; without it silence would tell, later. */
static void *open_monitor(struct bus_worker *w, struct link *l)
{
    int events = ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH |
                 ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL;
    return bus_monitor_open(w->def.zmq_context, l->socket, events);
}

static int descriptor_of(void *socket)
{
    int fd = -1;
    size_t size = sizeof fd;
    return zmq_getsockopt(socket, ZMQ_FD, &fd, &size) == 0 ? fd : -1;
}

static void open_link(struct bus_worker *w, struct link *l, int64_t now_us)
{
    char address[RESOLVE_TEXT_MAX];
    if (!resolve_get(l->name, address, &l->name_generation)) {
        l->unknown += l->unknown < UNKNOWN_SOON;
        l->retry_at_us = now_us + (l->unknown < UNKNOWN_SOON ? UNKNOWN_US : UNKNOWN_LONG_US);
        return;
    }
    l->unknown = 0;
    l->socket = zmq_socket(w->def.zmq_context, ZMQ_DEALER);
    if (!l->socket || !bus_socket_prepare(l->socket, w->def.address)) {
        lose(l, "no_socket", now_us);
        return;
    }
    l->monitor = open_monitor(w, l);
    l->fd = descriptor_of(l->socket);
    l->monitor_fd = l->monitor ? descriptor_of(l->monitor) : -1;
    l->look = l->look_monitor = true;
    l->nsaid = 0;
    memset(l->said, 0, sizeof l->said);
    if (!bus_peers_connect(l->socket, address)) {
        lose(l, "no_socket", now_us);
        return;
    }
    l->state = LINK_CONNECTING;
}

/* --- sending ---------------------------------------------------------------------------------- */

static bool send_command(struct link *l, uint8_t command, bool more)
{
    l->look = true;
    return bus_send(l->socket, MDP_WORKER_02, MDP_HEADER_LEN, true) &&
           bus_send_byte(l->socket, command, more);
}

static void say_ready(struct bus_worker *w, struct link *l, int64_t now_us)
{
    if (!send_command(l, MDP02_W_READY, true)) {
        l->look = false; /* no connection yet; its coming shows in the poll */
        return;
    }
    for (size_t i = 0; i < w->def.nservices; i++)
        if (!bus_send(l->socket, w->def.services[i], strlen(w->def.services[i]),
                      i + 1 < w->def.nservices)) {
            lose(l, "send_failed", now_us);
            return;
        }
    note_said(l, now_us);
    l->state = LINK_UP;
    l->heard_at_us = now_us;
    l->beat_at_us = now_us + HEARTBEAT_US;
}

static bool send_answer(struct link *l, struct pool_job *job)
{
    return send_command(l, MDP02_W_FINAL, true) &&
           bus_send(l->socket, l->addr, l->addr_len, true) && bus_send(l->socket, NULL, 0, true) &&
           bus_send_frame(l->socket, &job->result, true) &&
           bus_send_frame(l->socket, &job->reply, false);
}

static void leave(struct link *l, int64_t now_us)
{
    if (send_command(l, MDP02_W_DISCONNECT, false))
        note_said(l, now_us);
    else
        log_debug("bus.link_lost", "connection ended before it was given back", NULL);
    l->state = LINK_LEAVING;
    l->leave_at_us = now_us + LEAVE_GRACE_US;
}

/* --- receiving -------------------------------------------------------------------------------- */

/* MDPW02 02 addr "" method context message. A frame that is missing counts as empty, and the worker
 * says what is wrong with that; a malformed envelope cannot be answered. */
static void on_request(struct link *l, struct bus_frames *f, int64_t now_us)
{
    if (f->n < 4 || zmq_msg_size(&f->frame[2]) > ADDR_MAX || zmq_msg_size(&f->frame[3]) != 0) {
        count_dropped("bad_request");
        return;
    }
    if (l->job_state != JOB_FREE) { /* the bus has lost count: start again */
        lose(l, "second_request", now_us);
        return;
    }
    l->addr_len = zmq_msg_size(&f->frame[2]);
    memcpy(l->addr, zmq_msg_data(&f->frame[2]), l->addr_len);
    l->fresh_until_us = fresh_until_us(l);
    if (now_us >= l->fresh_until_us) {
        lose(l, "old_request", now_us);
        return;
    }
    l->attempt = 0;

    zmq_msg_t *body[] = { &l->job.method, &l->job.context, &l->job.message };
    bool whole = f->n == 4 + ARRAY_LEN(body) && !f->overflow;
    for (size_t i = 0; i < ARRAY_LEN(body); i++) {
        zmq_msg_init(body[i]);
        if (whole)
            zmq_msg_move(body[i], &f->frame[4 + i]);
        else
            count_dropped("bad_body");
    }
    l->job.wake_relay = false;
    l->job_state = JOB_WAITING;
    l->job_generation = l->generation;
    l->job_arrived_us = now_us;
}

static void on_disconnect(struct bus_worker *w, struct link *l, int64_t now_us)
{
    if (l->state == LINK_LEAVING) {
        l->leave_at_us = now_us; /* nothing more is on its way */
        return;
    }
    if (w->enlisted)
        lose(l, "disconnect", now_us);
}

static void on_message(struct bus_worker *w, struct link *l, struct bus_frames *f, int64_t now_us)
{
    if (f->n < 2 || !bus_frame_is(&f->frame[0], MDP_WORKER_02, MDP_HEADER_LEN) ||
        zmq_msg_size(&f->frame[1]) != 1) {
        count_dropped("bad_frames");
        return;
    }
    l->heard_at_us = now_us;
    switch (*(const uint8_t *)zmq_msg_data(&f->frame[1])) {
    case MDP02_W_REQUEST:
        on_request(l, f, now_us);
        break;
    case MDP02_W_HEARTBEAT:
        l->attempt = 0;
        break;
    case MDP02_W_DISCONNECT:
        on_disconnect(w, l, now_us);
        break;
    default:
        count_dropped("bad_command");
    }
}

static void read_link(struct bus_worker *w, struct link *l, int64_t now_us)
{
    struct bus_frames f;
    l->look = true;
    for (int i = 0; i < READ_BURST && l->socket; i++) {
        if (!bus_frames_receive(l->socket, &f)) {
            l->look = false;
            break;
        }
        on_message(w, l, &f, now_us);
        bus_frames_close(&f);
    }
}

/* Only the first is known to be about our key. A bus that is killed ends connections in the middle of
 * their handshake, and one that cannot read what our idea of its key has encrypted does so too. */
static void on_handshake_failed(const struct link *l, uint16_t event)
{
    count_dropped("handshake");
    if (event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH)
        log_warn("bus.handshake_failed", "the bus does not admit this daemon's key", "bus",
                 l->endpoint, NULL);
    else if (event == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL)
        log_warn("bus.handshake_broken", "what answers there does not speak as the bus does", "bus",
                 l->endpoint, NULL);
    else
        log_info("bus.handshake_ended",
                 "the connection ended before it was agreed: the bus ended, or it has another key "
                 "than BUS_SERVER_KEY",
                 "bus", l->endpoint, NULL);
}

static void read_monitor(struct link *l, int64_t now_us)
{
    uint16_t event;
    l->look_monitor = false;
    while (l->monitor && bus_monitor_next(l->monitor, &event)) {
        if (event == ZMQ_EVENT_DISCONNECTED) {
            resolve_again(l->name);
            if (l->state == LINK_UP)
                lose(l, "connection", now_us);
        } else {
            on_handshake_failed(l, event);
        }
    }
}

/* --- the life of a link ----------------------------------------------------------------------- */

static void beat(struct link *l, int64_t now_us)
{
    if (now_us < l->beat_at_us)
        return;
    if (send_command(l, MDP02_W_HEARTBEAT, false))
        note_said(l, now_us);
    else
        count_dropped("heartbeat");
    l->beat_at_us = now_us + HEARTBEAT_US;
}

static void close_if_left(struct bus_worker *w, struct link *l, int64_t now_us)
{
    if (now_us < l->leave_at_us || l->job_state != JOB_FREE)
        return;
    close_sockets(l);
    l->state = w->enlisted ? LINK_BACKOFF : LINK_OFF;
    l->retry_at_us = now_us;
    l->attempt = 0;
}

/* The name leads elsewhere now. What runs at the old address is answered there, if that still lives. */
static void follow_name(struct link *l, int64_t now_us)
{
    if (l->name_generation == resolve_generation(l->name))
        return;
    if (l->state == LINK_UP) {
        log_info("bus.moved", "the bus has another address", "bus", l->endpoint, NULL);
        leave(l, now_us);
    } else if (l->state == LINK_CONNECTING) {
        close_sockets(l);
        l->state = LINK_BACKOFF;
        l->retry_at_us = now_us;
    }
}

static void tend(struct bus_worker *w, struct link *l, int64_t now_us)
{
    if (l->state == LINK_BACKOFF && !w->enlisted)
        l->state = LINK_OFF; /* lost while it was leaving: it has left */
    follow_name(l, now_us);
    if (l->state == LINK_BACKOFF && l->job_state == JOB_FREE && now_us >= l->retry_at_us)
        open_link(w, l, now_us);
    if (l->state == LINK_CONNECTING)
        say_ready(w, l, now_us);
    if (l->state == LINK_UP && now_us - l->heard_at_us >= EXPIRY_US)
        lose(l, "silence", now_us);
    if (l->state == LINK_UP || (l->state == LINK_LEAVING && l->job_state != JOB_FREE))
        beat(l, now_us);
    if (l->state == LINK_LEAVING)
        close_if_left(w, l, now_us);
}

static int64_t next_turn_us(const struct link *l)
{
    switch (l->state) {
    case LINK_OFF:
    case LINK_CONNECTING: /* the poll tells */
        return INT64_MAX;
    case LINK_BACKOFF: /* with a job out, its end tells */
        return l->job_state == JOB_FREE ? l->retry_at_us : INT64_MAX;
    case LINK_UP:
        return MIN(l->beat_at_us, l->heard_at_us + EXPIRY_US);
    case LINK_LEAVING:
        return l->job_state == JOB_FREE ? l->leave_at_us : l->beat_at_us;
    }
    return INT64_MAX;
}

/* --- public ----------------------------------------------------------------------------------- */

static bool split_endpoints(struct bus_worker *w, const char **endpoint)
{
    w->endpoints = strdup(w->def.address->endpoint);
    if (!w->endpoints)
        return false;
    for (char *p = w->endpoints; p; w->nbuses++) {
        if (w->nbuses == BUS_WORKER_BUSES_MAX)
            return false;
        endpoint[w->nbuses] = p;
        p = strchr(p, ',');
        if (p)
            *p++ = '\0';
        if (!*endpoint[w->nbuses])
            return false;
        w->names[w->nbuses] = resolve_acquire_endpoint(endpoint[w->nbuses]);
        if (!w->names[w->nbuses])
            return false;
    }
    return true;
}

struct bus_worker *bus_worker_new(const struct bus_worker_def *def)
{
    assert(def->nslots > 0 && def->nservices > 0);
    struct bus_worker *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->def = *def;
    const char *endpoint[BUS_WORKER_BUSES_MAX];
    if (!split_endpoints(w, endpoint))
        goto fail;
    w->nlinks = def->nslots * w->nbuses;
    w->slots = calloc(def->nslots, sizeof *w->slots);
    w->links = calloc(w->nlinks, sizeof *w->links);
    if (!w->slots || !w->links)
        goto fail;
    for (size_t i = 0; i < def->nslots; i++)
        w->slots[i] = (struct slot){ .index = i, .links = &w->links[i * w->nbuses] };
    for (size_t i = 0; i < w->nlinks; i++) {
        struct link *l = &w->links[i];
        l->slot = &w->slots[i / w->nbuses];
        l->endpoint = endpoint[i % w->nbuses];
        l->name = w->names[i % w->nbuses];
        l->job.worker = l->slot->index;
        l->job.owner = l;
    }
    return w;
fail:
    bus_worker_free(w);
    return NULL;
}

void bus_worker_free(struct bus_worker *w)
{
    if (!w)
        return;
    for (size_t i = 0; w->links && i < w->nlinks; i++) {
        assert(w->links[i].job_state != JOB_RUNNING);
        close_sockets(&w->links[i]);
    }
    for (size_t i = 0; i < w->nbuses; i++)
        resolve_release(w->names[i]);
    free(w->links);
    free(w->slots);
    free(w->endpoints);
    free(w);
}

void bus_worker_enlist(struct bus_worker *w, int64_t now_us)
{
    w->enlisted = true;
    w->served_at_us = now_us;
    for (size_t i = 0; i < w->nlinks; i++)
        if (w->links[i].state == LINK_OFF) {
            w->links[i].state = LINK_BACKOFF;
            w->links[i].retry_at_us = now_us;
        }
}

void bus_worker_withdraw(struct bus_worker *w, int64_t now_us)
{
    w->enlisted = false;
    for (size_t i = 0; i < w->nlinks; i++) {
        struct link *l = &w->links[i];
        if (l->state == LINK_UP) {
            leave(l, now_us);
        } else if (l->state != LINK_LEAVING) {
            close_sockets(l);
            l->state = LINK_OFF;
        }
    }
}

bool bus_worker_registered(const struct bus_worker *w)
{
    for (size_t i = 0; i < w->nlinks; i++)
        if (w->links[i].state == LINK_UP)
            return true;
    return false;
}

bool bus_worker_idle(const struct bus_worker *w)
{
    for (size_t i = 0; i < w->nlinks; i++)
        if (w->links[i].state != LINK_OFF || w->links[i].job_state != JOB_FREE)
            return false;
    return true;
}

size_t bus_worker_items_max(const struct bus_worker *w)
{
    return 2 * w->nlinks;
}

static const zmq_pollitem_t *poll_for(int fd, zmq_pollitem_t *item)
{
    *item = (zmq_pollitem_t){ .fd = fd, .events = ZMQ_POLLIN };
    return item;
}

size_t bus_worker_items(struct bus_worker *w, zmq_pollitem_t *items)
{
    size_t n = 0;
    for (size_t i = 0; i < w->nlinks; i++) {
        struct link *l = &w->links[i];
        if (l->socket)
            l->item = poll_for(l->fd, &items[n++]);
        if (l->monitor)
            l->monitor_item = poll_for(l->monitor_fd, &items[n++]);
    }
    return n;
}

static bool is_to_be_read(const zmq_pollitem_t **item, bool look)
{
    bool yes = look || !*item || (*item)->revents;
    *item = NULL;
    return yes;
}

int64_t bus_worker_serve(struct bus_worker *w, int64_t now_us)
{
    bool stalled = w->enlisted && now_us - w->served_at_us >= STALL_US;
    int64_t next_us = INT64_MAX;
    w->served_at_us = now_us;
    for (size_t i = 0; i < w->nlinks; i++) {
        struct link *l = &w->links[i];
        if (stalled && l->state == LINK_UP && l->job_state == JOB_RUNNING)
            l->heard_at_us = now_us; /* nobody was listening */
        else if (stalled && l->state == LINK_UP)
            lose(l, "stalled", now_us);
        if (l->job_state == JOB_WAITING && !may_begin(l, now_us))
            lose(l, "old_request", now_us);
        if (is_to_be_read(&l->item, l->look) && l->socket)
            read_link(w, l, now_us);
        if (is_to_be_read(&l->monitor_item, l->look_monitor))
            read_monitor(l, now_us);
        tend(w, l, now_us);
        next_us = MIN(next_us, l->socket && l->look ? now_us : next_turn_us(l));
    }
    for (size_t i = 0; i < w->def.nslots; i++)
        run_next(w, &w->slots[i], now_us);
    return next_us;
}

void bus_worker_finish(struct bus_worker *w, struct pool_job *job, int64_t now_us)
{
    struct link *l = job->owner;
    assert(l->job_state == JOB_RUNNING && l->slot->running == l);
    l->job_state = JOB_FREE;
    l->slot->running = NULL;

    if (!l->socket || l->job_generation != l->generation) {
        count_dropped("late_answer");
    } else if (send_answer(l, job)) {
        note_said(l, now_us);
        l->beat_at_us = now_us + HEARTBEAT_US;
    } else {
        lose(l, "send_failed", now_us);
        if (!w->enlisted)
            l->state = LINK_OFF;
    }
    close_request(job);
    zmq_msg_close(&job->result);
    zmq_msg_close(&job->reply);
    run_next(w, l->slot, now_us);
}

static bool wake_one(struct link *l, const char *channel, const void *data, size_t len)
{
    bool sent = (l->state == LINK_UP || l->state == LINK_LEAVING) &&
                send_command(l, MDP02_W_WAKE, true) &&
                bus_send(l->socket, channel, strlen(channel), true) &&
                bus_send(l->socket, data, len, false);
    l->nsaid += sent; /* when does not matter: beats are between */
    return sent;
}

bool bus_worker_wake(struct bus_worker *w, const char *channel, const void *data, size_t len)
{
    bool any = false;
    for (size_t bus = 0; bus < w->nbuses; bus++)
        for (size_t slot = 0; slot < w->def.nslots; slot++)
            if (wake_one(&w->slots[slot].links[bus], channel, data, len)) {
                any = true;
                break;
            }
    return any;
}
