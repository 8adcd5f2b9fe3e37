/*
 * load.c - asks a service at a given width or pace and prints what it saw as one line of JSON.
 *
 *   load --kind echo|record|question|list [--clients N] [--window W] [--rate R] [--seconds S] ...
 *   load --kind company --employees N       makes the bench's company instead, or another --tenant
 *
 * Each client is a DEALER of its own with W requests under way; the next goes out when an answer is
 * in (closed loop). With a rate, requests go out at their planned times whatever has been answered,
 * in turn over the clients, and latency counts from the planned time: a stall is seen by all who
 * would have asked meanwhile (no coordinated omission).
 *
 * With --phases the rate changes and refusals are no errors but counted; see phases.h.
 *
 * With --events TYPE it also subscribes to that event of the bench's company, whose envelope names
 * the request that caused it, and measures from answer and from request to the event's arrival.
 */
#include <hiredis/hiredis.h>
#include <sodium.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include <zmq.h>

#include "common/bus_frames.h"
#include "common/mdp.h"
#include "common/num.h"
#include "common/schema.h"
#include "daybook/bus/v1/bus.pb-c.h"
#include "tests/bench/gear.h"
#include "tests/bench/hist.h"
#include "tests/bench/phases.h"
#include "tests/bench/samples.h"

#define CLIENTS_MAX 512
#define RING                                                                                       \
    (1u << 17) /* requests remembered; more are never under way or waiting for their event */
#define PREFIX_LEN (REQUEST_ID_LEN - 12)
#define GRACE_NS INT64_C(12000000000)
#define RATE_BATCH 64

struct client {
    void *socket;
    int inflight;
};

/* One request; numbered from 0, in the ring at its number. */
struct ask {
    int64_t start_ns;    /* planned or sent */
    int64_t answered_ns; /* 0: not yet */
    int64_t heard_ns;    /* its event; 0: not yet */
    uint64_t number;
    int client;
    bool counts; /* after the warm-up */
};

struct load {
    struct samples samples;
    struct client client[CLIENTS_MAX];
    int nclients, window;
    double rate;
    bool paced;            /* by the rate or in phases; else a closed loop */
    struct phases *phases; /* NULL: one rate, or a closed loop */
    int64_t begin_ns, count_from_ns, end_ns;
    uint64_t next; /* number of the next request */
    int64_t planned_ns;
    struct ask *ring;
    int inflight;
    char prefix[PREFIX_LEN + 1];
    int epoll, timer;
    void *sub;
    redisContext *redis; /* its database is emptied before each request */

    struct hist latency, after_answer, after_start;
    uint64_t answers, errors, unheard, early, from[4];
    int64_t first_ns, last_ns;
    size_t answer_bytes;
    char first_error[300];
};

/* --- asking ----------------------------------------------------------------------------------- */

static void send_one(struct load *l, int client, int64_t start_ns)
{
    const struct sample *s = &l->samples.item[(l->next * 7919) % l->samples.n];
    struct ask *ask = &l->ring[l->next % RING];
    zmq_msg_t context;
    char id[REQUEST_ID_LEN + 1];

    snprintf(id, sizeof id, "%s%012" PRIu64, l->prefix, l->next);
    zmq_msg_init_size(&context, s->context_len);
    memcpy(zmq_msg_data(&context), s->context, s->context_len);
    memcpy((char *)zmq_msg_data(&context) + 2, id, REQUEST_ID_LEN);
    if (l->redis) {
        redisReply *reply = redisCommand(l->redis, "FLUSHDB");
        freeReplyObject(reply);
        start_ns = now_ns();
    }
    *ask = (struct ask){ .start_ns = start_ns,
                         .number = l->next,
                         .client = client,
                         .counts = start_ns >= l->count_from_ns };
    void *to = l->client[client].socket;
    if (!bus_send(to, MDP_CLIENT_02, MDP_HEADER_LEN, true) ||
        !bus_send_byte(to, MDP02_C_REQUEST, true) ||
        !bus_send(to, l->samples.service, strlen(l->samples.service), true) ||
        !bus_send(to, l->samples.method, strlen(l->samples.method), true) ||
        !bus_send_frame(to, &context, true) || !bus_send(to, s->message, s->message_len, false))
        die("cannot send: %s", zmq_strerror(zmq_errno()));
    l->next++;
    l->client[client].inflight++;
    l->inflight++;
}

static enum err note_error(struct load *l, const uint8_t *status, size_t len)
{
    Google__Rpc__Status *s = google__rpc__status__unpack(NULL, len, status);
    enum err code = s ? (enum err)s->code : ERR_INTERNAL;
    if (l->errors++ == 0)
        snprintf(l->first_error, sizeof l->first_error, "%d %s", s ? (int)s->code : -1,
                 s ? s->message : "broken");
    if (s)
        google__rpc__status__free_unpacked(s, NULL);
    return code;
}

/* The daily list says where it came from in field 2, its last: 10 0x. */
static void note_source(struct load *l, zmq_msg_t *message)
{
    const uint8_t *p = zmq_msg_data(message);
    size_t len = zmq_msg_size(message);
    if (len >= 2 && p[len - 2] == 0x10 && p[len - 1] < ARRAY_LEN(l->from))
        l->from[p[len - 1]]++;
}

/* The number within an id of this run; false: another's. */
static bool number_of(const struct load *l, const char *id, size_t len, uint64_t *out)
{
    int64_t n;
    if (len != REQUEST_ID_LEN || memcmp(id, l->prefix, PREFIX_LEN) != 0 ||
        !num_i64_n(id + PREFIX_LEN, len - PREFIX_LEN, 0, INT64_MAX, &n))
        return false;
    *out = (uint64_t)n;
    return true;
}

static void both_known(struct load *l, const struct ask *ask)
{
    if (!ask->counts)
        return;
    hist_add(&l->after_answer, ask->heard_ns - ask->answered_ns);
    hist_add(&l->after_start, ask->heard_ns - ask->start_ns);
    l->early += ask->heard_ns < ask->answered_ns;
}

/* A status in the result, whose length may take two bytes; ERR_OK: there is none. */
static enum err error_of(struct load *l, const uint8_t *p, size_t len)
{
    if (len <= 2 || p[0] != 0x12)
        return ERR_OK;
    size_t at = p[1] < 0x80 ? 2 : 3;
    size_t size = p[1] < 0x80 ? p[1] : (size_t)(p[1] & 0x7f) | (size_t)p[2] << 7;
    return note_error(l, p + at, MIN(size, len - at));
}

/* result and message are the last two frames, also when the raw echo sends back context and
 * message; either begins with the request id. */
static void take_answer(struct load *l, struct bus_frames *f, int64_t now)
{
    uint64_t number;
    if (f->n < 2)
        die("an answer of %zu frames", f->n);
    zmq_msg_t *result = &f->frame[f->n - 2], *message = &f->frame[f->n - 1];
    const uint8_t *p = zmq_msg_data(result);
    size_t len = zmq_msg_size(result), head = 2 + REQUEST_ID_LEN;
    if (len < head || p[0] != 0x0a || p[1] != REQUEST_ID_LEN ||
        !number_of(l, (const char *)p + 2, REQUEST_ID_LEN, &number))
        return; /* late, of an earlier run */
    struct ask *ask = &l->ring[number % RING];
    if (ask->number != number || ask->answered_ns)
        die("a second answer to request %" PRIu64, number);
    ask->answered_ns = now;
    l->client[ask->client].inflight--;
    l->inflight--;
    enum err code = error_of(l, p + head, len - head);
    if (l->phases)
        phases_answer(l->phases, ask->start_ns, now, code);
    if (code || !ask->counts)
        return;
    if (l->answers++ == 0)
        l->first_ns = ask->start_ns;
    l->last_ns = now;
    l->answer_bytes = zmq_msg_size(message);
    note_source(l, message);
    hist_add(&l->latency, now - ask->start_ns);
    if (ask->heard_ns)
        both_known(l, ask);
}

/* Until nothing is left to read, for a descriptor of libzmq tells of changes only. */
static void serve_client(struct load *l, int i)
{
    struct client *c = &l->client[i];
    struct bus_frames f;
    do {
        while (bus_frames_receive(c->socket, &f)) {
            int64_t now = now_ns();
            take_answer(l, &f, now);
            bus_frames_close(&f);
            if (!l->paced && now < l->end_ns && c->inflight < l->window)
                send_one(l, i, now);
        }
    } while (gear_readable(c->socket));
}

/* --- pace ------------------------------------------------------------------------------------- */

static void set_timer(struct load *l, int64_t at_ns)
{
    struct itimerspec t = { .it_value = { .tv_sec = at_ns / 1000000000,
                                          .tv_nsec = at_ns % 1000000000 } };
    timerfd_settime(l->timer, TFD_TIMER_ABSTIME, &t, NULL);
}

static int64_t due_ns(const struct load *l, int64_t now)
{
    if (l->phases)
        return phases_due_ns(l->phases, now);
    return l->planned_ns < l->end_ns ? l->planned_ns : INT64_MAX;
}

static void send_planned(struct load *l)
{
    uint64_t ticks;
    if (read(l->timer, &ticks, sizeof ticks) < 0)
        return;
    int64_t now = now_ns(), due;
    for (int i = 0; i < RATE_BATCH && (due = due_ns(l, now)) <= now; i++) {
        int client = (int)(l->next % (uint64_t)l->nclients);
        send_one(l, client, l->phases ? phases_send(l->phases, now) : due);
        if (!l->phases)
            l->planned_ns += (int64_t)(1e9 / l->rate);
        serve_client(l, client); /* sending may have swallowed the descriptor's news */
    }
    if ((due = due_ns(l, now)) < INT64_MAX)
        set_timer(l, due);
}

/* --- events ----------------------------------------------------------------------------------- */

static void serve_events(struct load *l)
{
    struct bus_frames f;
    while (l->sub && bus_frames_receive(l->sub, &f)) {
        int64_t now = now_ns();
        zmq_msg_t *last = &f.frame[f.n - 1];
        Daybook__Bus__V1__Event *e =
            daybook__bus__v1__event__unpack(NULL, zmq_msg_size(last), zmq_msg_data(last));
        uint64_t number;
        if (e && number_of(l, e->request_id, strlen(e->request_id), &number)) {
            struct ask *ask = &l->ring[number % RING];
            ask->heard_ns = now;
            if (ask->answered_ns)
                both_known(l, ask);
        }
        if (e)
            daybook__bus__v1__event__free_unpacked(e, NULL);
        bus_frames_close(&f);
    }
}

/* --- the run ---------------------------------------------------------------------------------- */

static void watch(struct load *l, int fd, uint64_t id)
{
    struct epoll_event e = { .events = EPOLLIN, .data.u64 = id };
    if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &e) != 0)
        die("epoll");
}

static void run(struct load *l)
{
    enum { TIMER = CLIENTS_MAX, EVENTS };
    watch(l, l->timer, TIMER);
    if (l->sub)
        watch(l, gear_fd(l->sub), EVENTS);
    for (int i = 0; i < l->nclients; i++)
        watch(l, gear_fd(l->client[i].socket), (uint64_t)i);

    for (int i = 0; !l->paced && i < l->nclients; i++) {
        for (int k = 0; k < l->window; k++)
            send_one(l, i, now_ns());
        serve_client(l, i);
    }
    if (l->paced)
        set_timer(l, l->begin_ns);
    serve_events(l);
    while (now_ns() < l->end_ns + (l->sub ? 500000000 : 0) ||
           (l->inflight > 0 && now_ns() < l->end_ns + GRACE_NS)) {
        struct epoll_event ready[64];
        int n = epoll_wait(l->epoll, ready, ARRAY_LEN(ready), 20);
        for (int i = 0; i < n; i++)
            if (ready[i].data.u64 == TIMER)
                send_planned(l);
            else if (ready[i].data.u64 == EVENTS)
                serve_events(l);
            else
                serve_client(l, (int)ready[i].data.u64);
        serve_events(l);
    }
}

static void report(struct load *l)
{
    double seconds = (double)(l->last_ns - l->first_ns) / 1e9;
    for (uint64_t n = l->next > RING ? l->next - RING : 0; l->sub && n < l->next; n++) {
        const struct ask *ask = &l->ring[n % RING];
        l->unheard += ask->answered_ns && ask->counts && !ask->heard_ns;
    }
    printf("{\"count\":%" PRIu64 ",\"seconds\":%.3f,\"rate\":%.1f,\"errors\":%" PRIu64
           ",\"unanswered\":%d,\"answer_bytes\":%zu,",
           l->answers, seconds, seconds > 0 ? (double)l->answers / seconds : 0, l->errors,
           l->inflight, l->answer_bytes);
    hist_print(&l->latency, "");
    if (l->sub) {
        printf(",\"events\":%" PRIu64 ",\"unheard\":%" PRIu64 ",\"early\":%" PRIu64 ",",
               l->after_start.count, l->unheard, l->early);
        hist_print(&l->after_answer, "answer_to_event_");
        fputs(",", stdout);
        hist_print(&l->after_start, "ask_to_event_");
    }
    printf(",\"from_cache\":%" PRIu64 ",\"from_database\":%" PRIu64 "}\n", l->from[1], l->from[2]);
    if (l->errors)
        fprintf(stderr, "load: %" PRIu64 " errors; the first: %s\n", l->errors, l->first_error);
}

int main(int argc, char **argv)
{
    struct gear_option o[] = {
        { "kind", "echo" },      { "service", "bench.Echo" },
        { "endpoint", "" },      { "clients", "1" },
        { "window", "1" },       { "rate", "0" },
        { "seconds", "3" },      { "warmup", "0.5" },
        { "bytes", "256" },      { "customers", "2000" },
        { "employees", "50" },   { "events", "" },
        { "flush", "" },         { "phases", "" },
        { "deadline", "10000" }, { "tenant", BENCH_TENANT },
    };
    size_t n = ARRAY_LEN(o);
    static struct load l;
    schema_init();
    gear_options(o, n, argc - 1, argv + 1);
    struct bus_address address = gear_address();
    if (*gear_text(o, n, "endpoint"))
        address.endpoint = gear_text(o, n, "endpoint");
    struct arena *arena = arena_new(64 * MIB);
    void *context = zmq_ctx_new();
    l.ring = calloc(RING, sizeof *l.ring);
    if (!arena || !context || !l.ring || sodium_init() < 0)
        die("out of memory");

    if (strcmp(gear_text(o, n, "kind"), "company") == 0) {
        struct bus_client *c = bus_client_new(context, &address);
        if (!c)
            die("no client");
        samples_found_company(c, gear_text(o, n, "tenant"), (size_t)gear_number(o, n, "employees"),
                              arena);
        bus_client_free(c);
        return 0;
    }
    l.samples = samples_make(
        &(struct samples_def){
            .kind = gear_text(o, n, "kind"),
            .service = gear_text(o, n, "service"),
            .bytes = (size_t)gear_number(o, n, "bytes"),
            .customers = (size_t)gear_number(o, n, "customers"),
            .employees = (size_t)gear_number(o, n, "employees"),
            .tenant = gear_text(o, n, "tenant"),
            .deadline_ms = (uint32_t)gear_number(o, n, "deadline"),
        },
        arena);
    l.nclients = (int)gear_number(o, n, "clients");
    l.window = (int)gear_number(o, n, "window");
    l.rate = gear_number(o, n, "rate");
    if (*gear_text(o, n, "phases"))
        l.phases =
            phases_new(gear_text(o, n, "phases"), (int64_t)(gear_number(o, n, "deadline") * 1000));
    l.paced = l.rate > 0 || l.phases;
    if (l.nclients < 1 || l.nclients > CLIENTS_MAX || l.window < 1)
        die("between 1 and %d clients, a window of at least 1", CLIENTS_MAX);
    l.epoll = epoll_create1(0);
    l.timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    for (int i = 0; i < l.nclients; i++)
        l.client[i].socket = gear_connect(context, ZMQ_DEALER, &address, address.endpoint);
    if (*gear_text(o, n, "events")) {
        char topic[200];
        snprintf(topic, sizeof topic, "%s/%s", BENCH_TENANT, gear_text(o, n, "events"));
        l.sub = gear_connect(context, ZMQ_SUB, &address, address.events);
        zmq_setsockopt(l.sub, ZMQ_SUBSCRIBE, topic, strlen(topic));
    }
    if (*gear_text(o, n, "flush")) {
        l.redis = redisConnectUnix(gear_text(o, n, "flush"));
        if (!l.redis || l.redis->err)
            die("no Redis at %s", gear_text(o, n, "flush"));
    }
    snprintf(l.prefix, sizeof l.prefix, "%08x%08x%04x", randombytes_random(), randombytes_random(),
             randombytes_random() & 0xffff);

    usleep(300000); /* connections and subscriptions come up; only the bench may simply wait */
    l.begin_ns = l.planned_ns = now_ns();
    l.count_from_ns = l.begin_ns + (int64_t)(gear_number(o, n, "warmup") * 1e9);
    l.end_ns = l.count_from_ns + (int64_t)(gear_number(o, n, "seconds") * 1e9);
    if (l.phases) {
        phases_begin(l.phases, l.begin_ns);
        l.end_ns = phases_end_ns(l.phases);
    }
    run(&l);
    if (l.phases)
        phases_print(l.phases);
    else
        report(&l);
    phases_free(l.phases);
    return l.inflight > 0 ? 2 : 0;
}
