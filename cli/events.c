/*
 * events.c - the log, for people and programs: read a piece, follow it. What consumers could not
 * take is in parked.c.
 *
 * Following is right without counting on the fast path: what is published is taken when it is the
 * very next event, else it only says that there is more, and the log is read (protocols F.3). So
 * filters, other companies' events, losses and a bus that restarts all end in the same place. Over
 * HTTP the gateway does all that, and a stream that ended is asked for again from the cursor on.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>
#include <zmq.h>

#include "cli/cli.h"
#include "common/bus_frames.h"
#include "common/bus_peers.h"
#include "common/clock.h"
#include "common/mdp.h"
#include "common/protojson.h"
#include "daybook/bus/v1/bus.pb-c.h"

#define EVENT_SERVICE "daybook.bus.v1.EventService"
#define PAGE_MAX 1000
#define TYPES_MAX 64
#define JSON_LIMIT (8 * MIB)
#define LOOK_AGAIN_MS 2000               /* when nothing is heard, not even a head message */
#define STREAM_QUIET_US (30 * SECOND_US) /* twice what the gateway lets pass */

typedef Daybook__Bus__V1__Event Event;
typedef Daybook__Bus__V1__ReadEventsRequest Request;
typedef Daybook__Bus__V1__ReadEventsResponse Response;
typedef Daybook__Bus__V1__GetHeadResponse Head;
typedef Daybook__Bus__V1__StreamEventsRequest StreamRequest;
typedef Daybook__Bus__V1__StreamEventsResponse Streamed;

struct filter {
    char *types[TYPES_MAX];
    size_t n;
    char *aggregate;
};

/* --- what is asked ---------------------------------------------------------------------------- */

static bool read_filter(struct cli *c, struct filter *f)
{
    const char *list = args_value(&c->args, "types");
    const char *aggregate = args_value(&c->args, "aggregate");

    f->aggregate = arena_strdup(c->arena, aggregate ? aggregate : "");
    char *rest = arena_strdup(c->arena, list ? list : "");
    for (char *one; (one = strsep(&rest, ", "));) {
        if (!*one)
            continue;
        if (f->n == TYPES_MAX) {
            (void)cli_usage(c, "--types takes at most %d", TYPES_MAX);
            return false;
        }
        f->types[f->n++] = one;
    }
    return f->aggregate != NULL;
}

/* A type, or a prefix that ends in a dot. */
static bool fits(const struct filter *f, const char *type)
{
    for (size_t i = 0; i < f->n; i++) {
        size_t len = strlen(f->types[i]);
        if (f->types[i][len - 1] == '.' ? strncmp(type, f->types[i], len) == 0
                                        : strcmp(type, f->types[i]) == 0)
            return true;
    }
    return f->n == 0;
}

static Request *new_request(struct cli *c, struct filter *f, int64_t after, int64_t limit)
{
    Request *r = wire_new(&daybook__bus__v1__read_events_request__descriptor, c->arena);
    if (r) {
        r->after_seq = after;
        r->types = f->types;
        r->n_types = f->n;
        r->limit = (int32_t)MIN(limit, PAGE_MAX);
        r->aggregate = f->aggregate;
    }
    return r;
}

/* Where to go on; false: the log has been looked through up to its head. A page may be short or
 * empty before that, where the filter matches rarely: the bus searches for a second and says how
 * far. */
static bool read_on(const Request *asked, const Response *page, int64_t *after)
{
    *after = MAX(*after, page->read_upto_seq);
    return page->read_upto_seq > asked->after_seq && page->read_upto_seq < page->head_seq;
}

/* The arena is reset page by page: what lives on is copied out of it, who asks too. */
static bool keep(struct cli *c, struct filter *f, struct arena *kept, int *status_out)
{
    const PbPrincipal *who;
    bool ok = true;

    if (!cli_way(c, status_out) || !cli_principal(c, &who, status_out))
        return false;
    for (size_t i = 0; i < f->n; i++)
        ok = (f->types[i] = arena_strdup(kept, f->types[i])) != NULL && ok;
    ok = (f->aggregate = arena_strdup(kept, f->aggregate)) != NULL && ok;
    if (who)
        ok = (c->principal = wire_clone(&who->base, kept)) != NULL && ok;
    if (!ok)
        *status_out = err_exit_code(ERR_RESOURCE_EXHAUSTED);
    return ok;
}

/* --- showing ---------------------------------------------------------------------------------- */

static int show_json(const struct cli *c, const Event *event)
{
    struct sbuf out;
    Event plain = *event;
    sbuf_init(&out, JSON_LIMIT);
    enum err e = protojson_write(&event->base, 0, &out);
    if (e == ERR_INVALID_ARGUMENT) { /* a newer program's type: without its content */
        sbuf_clear(&out);
        plain.data = NULL;
        e = protojson_write(&plain.base, 0, &out);
    }
    if (!e)
        (void)printf("%s\n", out.data);
    sbuf_fini(&out);
    return e ? cli_fail(c, e, "event %" PRId64 " cannot be shown as JSON", event->seq) : 0;
}

static int show(const struct cli *c, const Event *event)
{
    char time[TIME_TEXT_MAX];
    static const char prefix[] = "daybook.";
    if (c->json)
        return show_json(c, event);
    const char *type = event->type;
    if (strncmp(type, prefix, sizeof prefix - 1) == 0)
        type += sizeof prefix - 1;
    (void)printf("%8" PRId64 "  %-27s  %-42s  %s  v%" PRId64 "  by %s\n", event->seq,
                 time_format(wire_time_us(event->occurred_at), time), type, event->aggregate,
                 event->aggregate_version, *event->actor_id ? event->actor_id : "-");
    return 0;
}

/* --- read ------------------------------------------------------------------------------------- */

/* Shows the log from there on, `left` events of it. */
static int read_pages(struct cli *c, struct filter *f, int64_t after, int64_t left)
{
    int status = 0;

    while (left > 0) {
        arena_reset(c->arena);
        Request *r = new_request(c, f, after, left);
        const ProtobufCMessage *m =
            r ? cli_must_ask(c, EVENT_SERVICE, "ReadEvents", &r->base, &status) : NULL;
        if (!m)
            return r ? status : err_exit_code(ERR_RESOURCE_EXHAUSTED);
        const Response *answer = (const Response *)(const void *)m;
        for (size_t i = 0; i < answer->n_events && status == 0; i++)
            status = show(c, answer->events[i]);
        if (status || !read_on(r, answer, &after))
            return status;
        left -= (int64_t)answer->n_events;
    }
    return 0;
}

static int read_log(struct cli *c)
{
    CLEANUP(arena_freep) struct arena *kept = arena_new(MIB);
    struct filter f = { .n = 0 };
    int64_t after, limit;

    if (!cli_number(c, "after", 0, INT64_MAX, 0, &after) ||
        !cli_number(c, "limit", 0, INT64_MAX, 100, &limit) || !read_filter(c, &f))
        return EXIT_USAGE;
    int status = err_exit_code(ERR_RESOURCE_EXHAUSTED);
    if (kept && keep(c, &f, kept, &status))
        status = read_pages(c, &f, after, limit ? limit : INT64_MAX);
    c->principal = NULL; /* it goes with what was kept */
    return status;
}

/* --- tail ------------------------------------------------------------------------------------- */

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

struct tail {
    struct cli *c;
    struct filter filter;
    void *sub;
    struct bus_peers *peers;
    int64_t cursor; /* last seq that was dealt with */
    int64_t left;   /* events still to show */
    struct id log_id;
    bool has_log;
    int status; /* of what was shown over HTTP */
    bool away;  /* nobody answered; said once */
};

static bool subscribe(struct tail *t)
{
    struct bus_address address = cli_bus_address(t->c);
    char topic[64];
    snprintf(topic, sizeof topic, "%s%s", t->c->tenant, *t->c->tenant ? "/" : "");
    if (zmq_setsockopt(t->sub, ZMQ_SUBSCRIBE, topic, strlen(topic)) == 0 &&
        zmq_setsockopt(t->sub, ZMQ_SUBSCRIBE, BUS_TOPIC_HEAD, strlen(BUS_TOPIC_HEAD)) == 0 &&
        bus_socket_prepare(t->sub, &address))
        t->peers = bus_peers_new(t->sub, address.events);
    return t->peers != NULL;
}

static int take(struct tail *t, const Event *event)
{
    t->cursor = event->seq;
    if (t->left == 0 || !fits(&t->filter, event->type))
        return 0;
    if (*t->c->tenant && strcmp(event->tenant_id, t->c->tenant) != 0)
        return 0;
    if (*t->filter.aggregate && strcmp(event->aggregate, t->filter.aggregate) != 0)
        return 0;
    t->left--;
    int status = show(t->c, event);
    (void)fflush(stdout);
    return status;
}

/* Another incarnation of the log: what was seen may not have happened (operations 4). */
static void check_log(struct tail *t, const char *log_id, int64_t head)
{
    struct id id;
    if (!id_parse(log_id, &id))
        return;
    if (t->has_log && !id_equal(id, t->log_id)) {
        (void)fprintf(stderr,
                      "daybook events: the log was restored; going on at its head %" PRId64 "\n",
                      head);
        t->cursor = head;
    }
    t->log_id = id;
    t->has_log = true;
}

/* Reads the log from the cursor on. 0, or an exit status. */
static int catch_up(struct tail *t)
{
    for (;;) {
        struct bus_answer answer;
        arena_reset(t->c->arena);
        struct filter f = t->filter;
        Request *r = new_request(t->c, &f, t->cursor, PAGE_MAX);
        enum err e = r ? cli_ask(t->c, EVENT_SERVICE, "ReadEvents", &r->base, &answer)
                       : ERR_RESOURCE_EXHAUSTED;
        if (e == ERR_UNAVAILABLE || e == ERR_DEADLINE_EXCEEDED) {
            if (!t->away)
                (void)cli_call_failed(t->c, "ReadEvents", e, &answer);
            t->away = true;
            return 0; /* next time */
        }
        if (e)
            return r ? cli_call_failed(t->c, "ReadEvents", e, &answer) : err_exit_code(e);
        t->away = false;
        const Response *page = (const Response *)(const void *)answer.message;
        check_log(t, page->log_id, page->head_seq);
        for (size_t i = 0; i < page->n_events; i++) {
            int status = page->events[i]->seq > t->cursor ? take(t, page->events[i]) : 0;
            if (status)
                return status;
        }
        if (!read_on(r, page, &t->cursor) || t->left == 0 || interrupted)
            return 0;
    }
}

static int64_t seq_of(zmq_msg_t *frame)
{
    const uint8_t *p = zmq_msg_data(frame);
    uint64_t seq = 0;
    for (size_t i = 0; i < 8 && zmq_msg_size(frame) == 8; i++)
        seq = seq << 8 | p[i];
    return (int64_t)seq;
}

/* topic, log_id, seq, Event. True: the log must be read. */
static bool hear(struct tail *t, struct bus_frames *f, int *status_out)
{
    ProtobufCMessage *m = NULL;
    struct wire_fault fault;
    if (f->n != 4 || f->overflow || zmq_msg_size(&f->frame[1]) != sizeof t->log_id.b)
        return false; /* a wake, or nothing that we know */
    int64_t seq = seq_of(&f->frame[2]);
    if (t->has_log && memcmp(zmq_msg_data(&f->frame[1]), t->log_id.b, sizeof t->log_id.b) != 0)
        return true;
    if (seq != t->cursor + 1 || zmq_msg_size(&f->frame[3]) == 0)
        return seq > t->cursor;
    arena_reset(t->c->arena);
    if (wire_unpack(&daybook__bus__v1__event__descriptor, zmq_msg_data(&f->frame[3]),
                    zmq_msg_size(&f->frame[3]), &wire_limits_internal, t->c->arena, &m, &fault))
        return true;
    *status_out = take(t, (const Event *)(const void *)m);
    return false;
}

static int follow(struct tail *t)
{
    int status = catch_up(t); /* also: subscribed first, so nothing falls between */
    while (status == 0 && t->left > 0 && !interrupted) {
        zmq_pollitem_t item = { .socket = t->sub, .events = ZMQ_POLLIN };
        bool more = zmq_poll(&item, 1, LOOK_AGAIN_MS) == 0;
        (void)bus_peers_follow(t->peers);
        struct bus_frames f;
        while (status == 0 && t->left > 0 && bus_frames_receive(t->sub, &f)) {
            more |= hear(t, &f, &status);
            bus_frames_close(&f);
        }
        if (status == 0 && more && !interrupted)
            status = catch_up(t);
    }
    return status;
}

/* --- tail over HTTP --------------------------------------------------------------------------- */

/* The gateway goes through the log itself, and says how far at least every 15 seconds. */
static bool take_streamed(void *arg, const ProtobufCMessage *message)
{
    struct tail *t = arg;
    const Streamed *m = (const Streamed *)(const void *)message;

    t->away = false;
    if (m->message_case == DAYBOOK__BUS__V1__STREAM_EVENTS_RESPONSE__MESSAGE_POSITION) {
        check_log(t, m->position->log_id, m->position->head_seq);
        t->cursor = MAX(t->cursor, m->position->seq);
    }
    if (m->message_case == DAYBOOK__BUS__V1__STREAM_EVENTS_RESPONSE__MESSAGE_EVENT)
        t->status = take(t, m->event);
    return t->status == 0 && t->left > 0 && !interrupted;
}

static bool is_interrupted(void *arg UNUSED)
{
    return interrupted;
}

/* The log has another id than the one that was followed: on from its head. 0, or an exit status. */
static int change_log(struct tail *t)
{
    Daybook__Bus__V1__GetHeadRequest ask = DAYBOOK__BUS__V1__GET_HEAD_REQUEST__INIT;
    int status = 0;

    ask.omit_types = true;
    const Head *head =
        (const void *)cli_must_ask(t->c, EVENT_SERVICE, "GetHead", &ask.base, &status);
    if (head)
        check_log(t, head->log_id, head->head_seq);
    return status;
}

/* One stream, until it ends. */
static enum err stream(struct tail *t, struct bus_answer *end_out)
{
    char log_id[ID_TEXT_MAX];
    StreamRequest ask = DAYBOOK__BUS__V1__STREAM_EVENTS_REQUEST__INIT;
    const struct http_listener listener = {
        .take = take_streamed, .stopped = is_interrupted, .quiet_us = STREAM_QUIET_US, .arg = t
    };

    ask.after_seq = t->cursor;
    ask.types = t->filter.types;
    ask.n_types = t->filter.n;
    if (t->has_log)
        ask.log_id = id_text(t->log_id, log_id);
    struct bus_request r = { .service = EVENT_SERVICE,
                             .method = "StreamEvents",
                             .message = &ask.base,
                             .timeout_us = t->c->timeout_us };
    return http_ask_stream(t->c->http, &r, t->c->arena, &listener, end_out);
}

static int follow_over_http(struct tail *t)
{
    while (t->status == 0 && t->left > 0 && !interrupted) {
        struct bus_answer end;
        enum err e = stream(t, &end);
        if (t->status || t->left == 0 || interrupted)
            break;
        if (e == ERR_ABORTED)
            t->status = change_log(t);
        else if (e != ERR_OK && e != ERR_UNAVAILABLE && e != ERR_RESOURCE_EXHAUSTED)
            return cli_call_failed(t->c, "StreamEvents", e, &end);
        else if (e && !t->away)
            (void)cli_call_failed(t->c, "StreamEvents", e, &end);
        t->away |= e != ERR_OK;
        (void)poll(NULL, 0, LOOK_AGAIN_MS); /* a signal ends it */
    }
    return t->status;
}

/* --- its begin -------------------------------------------------------------------------------- */

/* The newest position, where a tail begins. */
static bool find_head(struct cli *c, int64_t *head_out, int *status_out)
{
    Daybook__Bus__V1__GetHeadRequest ask = DAYBOOK__BUS__V1__GET_HEAD_REQUEST__INIT;
    ask.omit_types = true;
    const ProtobufCMessage *m = cli_must_ask(c, EVENT_SERVICE, "GetHead", &ask.base, status_out);
    if (m)
        *head_out = ((const Head *)(const void *)m)->head_seq;
    return m != NULL;
}

static int tail_log(struct cli *c)
{
    struct tail t = { .c = c, .left = 0 };
    struct sigaction act = { .sa_handler = on_signal };
    int64_t limit, head = 0;
    int status = 0;

    if (!cli_number(c, "after", 0, INT64_MAX, -1, &t.cursor) ||
        !cli_number(c, "limit", 1, INT64_MAX, INT64_MAX, &limit) || !read_filter(c, &t.filter))
        return EXIT_USAGE;
    t.left = limit;
    if (!find_head(c, &head, &status))
        return status;
    if (t.cursor < 0)
        t.cursor = head;
    struct arena *kept = arena_new(MIB);
    t.sub = c->over_http ? NULL : zmq_socket(c->zmq, ZMQ_SUB);
    status = err_exit_code(ERR_RESOURCE_EXHAUSTED);
    bool is_ready = kept && keep(c, &t.filter, kept, &status);
    if (is_ready && !c->over_http && !(t.sub && subscribe(&t))) {
        status = cli_fail(c, ERR_FAILED_PRECONDITION, "cannot subscribe at DAYBOOK_BUS_EVENTS");
    } else if (is_ready) {
        (void)sigaction(SIGINT, &act, NULL);
        (void)sigaction(SIGTERM, &act, NULL);
        status = c->over_http ? follow_over_http(&t) : follow(&t);
    }
    if (t.sub)
        zmq_close(t.sub);
    bus_peers_free(t.peers);
    c->principal = NULL;
    arena_free(kept);
    return status;
}

int cmd_events(struct cli *c)
{
    const char *what = c->args.words[0];
    bool alone = c->args.nwords == 1;
    if (strcmp(what, "read") == 0 && alone)
        return read_log(c);
    if (strcmp(what, "tail") == 0 && alone)
        return tail_log(c);
    if (strcmp(what, "parked") == 0)
        return events_parked(c);
    if (strcmp(what, "replay") == 0)
        return events_replay(c);
    return cli_usage(c, "usage: daybook events %s", c->command->usage);
}
