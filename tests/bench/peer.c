/*
 * peer.c - the other ends of the echo.
 *
 *   peer proxy FRONT BACK       the limit: zmq_proxy() between ROUTER and DEALER, nothing else
 *   peer raw BACK SLOTS         answers whatever comes through that proxy as it is
 *   peer mdp SERVICE SLOTS      a Majordomo worker at the bus that answers the message as it is
 *
 * The proxy uses CURVE as the bus does when DAYBOOK_BUS_SERVER_KEY is set; its server key is then
 * DAYBOOK_BENCH_SERVER_SECRET_FILE's. There is no ZAP handler: any key is let in.
 */
#include <signal.h>
#include <sys/epoll.h>
#include <zmq.h>

#include "common/bus_frames.h"
#include "common/mdp.h"
#include "common/num.h"
#include "common/wire.h"
#include "tests/bench/gear.h"

#define SLOTS_MAX 64

static void *bind_end(void *context, int type, const char *endpoint)
{
    void *s = zmq_socket(context, type);
    int hwm = 10000, one = 1;
    const char *path = getenv("DAYBOOK_BENCH_SERVER_SECRET_FILE");
    zmq_setsockopt(s, ZMQ_SNDHWM, &hwm, sizeof hwm);
    zmq_setsockopt(s, ZMQ_RCVHWM, &hwm, sizeof hwm);
    if (path && *path) {
        char key[64] = "";
        FILE *f = fopen(path, "r");
        if (!f || !fgets(key, sizeof key, f))
            die("cannot read %s", path);
        fclose(f);
        key[strcspn(key, "\r\n")] = '\0';
        if (zmq_setsockopt(s, ZMQ_CURVE_SERVER, &one, sizeof one) != 0 ||
            zmq_setsockopt(s, ZMQ_CURVE_SECRETKEY, key, strlen(key) + 1) != 0)
            die("not a key: %s", path);
    }
    if (zmq_bind(s, endpoint) != 0)
        die("cannot bind %s: %s", endpoint, zmq_strerror(zmq_errno()));
    return s;
}

static void run_proxy(void *context, const char *front, const char *back)
{
    void *router = bind_end(context, ZMQ_ROUTER, front);
    void *dealer = bind_end(context, ZMQ_DEALER, back);
    zmq_proxy(router, dealer, NULL);
}

/* --- workers: one thread that serves `nslots` connections ------------------------------------- */

struct workers {
    void *slot[SLOTS_MAX];
    size_t n;
    int epoll;
    void (*serve)(void *socket); /* until nothing is left to read */
};

static void workers_connect(struct workers *w, void *context, const char *endpoint)
{
    struct bus_address address = gear_address();
    w->epoll = epoll_create1(0);
    for (size_t i = 0; i < w->n; i++) {
        w->slot[i] = gear_connect(context, ZMQ_DEALER, &address, endpoint);
        struct epoll_event e = { .events = EPOLLIN, .data.u64 = i };
        if (epoll_ctl(w->epoll, EPOLL_CTL_ADD, gear_fd(w->slot[i]), &e) != 0)
            die("epoll");
    }
}

/* One turn; a descriptor of libzmq tells of changes only, so reading goes on until it says none. */
static void workers_turn(struct workers *w)
{
    struct epoll_event ready[SLOTS_MAX];
    int n = epoll_wait(w->epoll, ready, SLOTS_MAX, MDP_HEARTBEAT_MS / 2);
    for (int i = 0; i < n; i++)
        do
            w->serve(w->slot[ready[i].data.u64]);
        while (gear_readable(w->slot[ready[i].data.u64]));
}

/* --- the raw one: sends back what comes ------------------------------------------------------- */

static void serve_raw(void *s)
{
    zmq_msg_t frame;
    zmq_msg_init(&frame);
    while (zmq_msg_recv(&frame, s, ZMQ_DONTWAIT) >= 0) {
        int more = zmq_msg_more(&frame);
        if (zmq_msg_send(&frame, s, more ? ZMQ_SNDMORE : 0) < 0)
            die("send: %s", zmq_strerror(zmq_errno()));
    }
    zmq_msg_close(&frame);
}

static void run_raw(void *context, const char *endpoint, size_t nslots)
{
    struct workers w = { .n = nslots, .serve = serve_raw };
    workers_connect(&w, context, endpoint);
    for (;;)
        workers_turn(&w);
}

/* --- the Majordomo worker --------------------------------------------------------------------- */

static void send_command(void *s, uint8_t command, const char *service)
{
    if (!bus_send(s, MDP_WORKER_02, MDP_HEADER_LEN, true) ||
        !bus_send_byte(s, command, service != NULL) ||
        (service && !bus_send(s, service, strlen(service), false)))
        die("send: %s", zmq_strerror(zmq_errno()));
}

/* CallResult {request_id} from CallContext {request_id, …}: the same field 1 of the same form,
 * which the bus puts somewhere among the others. */
static size_t result_of(zmq_msg_t *context, uint8_t *out, size_t size)
{
    const uint8_t *p = zmq_msg_data(context), *end = p + zmq_msg_size(context);
    while (p + 2 <= end) {
        uint8_t tag = *p;
        if ((tag & 7) == 2 && p[1] < 0x80) {
            size_t len = (size_t)p[1] + 2;
            if (tag == 0x0a && len <= size && p + len <= end) {
                memcpy(out, p, len);
                return len;
            }
            p += len;
        } else if ((tag & 7) == 0) {
            for (p++; p < end && *p >= 0x80; p++)
                ;
            p++;
        } else {
            return 0;
        }
    }
    return 0;
}

/* MDPW02 02 addr "" method context message  ->  MDPW02 04 addr "" result message */
static void answer(void *s, struct bus_frames *f)
{
    uint8_t result[80];
    size_t len = result_of(&f->frame[5], result, sizeof result);
    if (!bus_send(s, MDP_WORKER_02, MDP_HEADER_LEN, true) ||
        !bus_send_byte(s, MDP02_W_FINAL, true) || !bus_send_frame(s, &f->frame[2], true) ||
        !bus_send(s, "", 0, true) || !bus_send(s, result, len, true) ||
        !bus_send_frame(s, &f->frame[6], false))
        die("send: %s", zmq_strerror(zmq_errno()));
}

static void serve_mdp(void *s)
{
    struct bus_frames f;
    while (bus_frames_receive(s, &f)) {
        if (f.n == 7 && bus_frame_is_byte(&f.frame[1], MDP02_W_REQUEST))
            answer(s, &f);
        else if (f.n == 2 && bus_frame_is_byte(&f.frame[1], MDP02_W_DISCONNECT))
            die("the bus dismissed the worker");
        bus_frames_close(&f);
    }
}

static void run_mdp(void *context, const char *service, size_t nslots)
{
    struct workers w = { .n = nslots, .serve = serve_mdp };
    int64_t beat_ns = now_ns();
    workers_connect(&w, context, gear_address().endpoint);
    for (size_t i = 0; i < nslots; i++) {
        send_command(w.slot[i], MDP02_W_READY, service);
        serve_mdp(w.slot[i]);
    }
    for (;;) {
        workers_turn(&w);
        if (now_ns() - beat_ns < MDP_HEARTBEAT_MS * INT64_C(1000000))
            continue;
        beat_ns = now_ns();
        for (size_t i = 0; i < nslots; i++) {
            send_command(w.slot[i], MDP02_W_HEARTBEAT, NULL);
            serve_mdp(w.slot[i]); /* sending may have swallowed the descriptor's news */
        }
    }
}

int main(int argc, char **argv)
{
    void *context = zmq_ctx_new();
    int64_t slots;
    signal(SIGPIPE, SIG_IGN);
    if (argc == 4 && strcmp(argv[1], "proxy") == 0)
        run_proxy(context, argv[2], argv[3]);
    else if (argc == 4 && strcmp(argv[1], "raw") == 0 && num_i64(argv[3], 1, SLOTS_MAX, &slots))
        run_raw(context, argv[2], (size_t)slots);
    else if (argc == 4 && strcmp(argv[1], "mdp") == 0 && num_i64(argv[3], 1, SLOTS_MAX, &slots))
        run_mdp(context, argv[2], (size_t)slots);
    die("peer proxy FRONT BACK | raw BACK SLOTS | mdp SERVICE SLOTS");
}
