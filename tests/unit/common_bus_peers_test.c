/*
 * Buses by name (F65): one whose name hangs holds up nobody, one that moves is followed. The buses are
 * bare ROUTERs at two addresses of this machine and one port, as a name has but one.
 */
#include "common/base.h"

#include <setjmp.h>
#include <cmocka.h>
#include <zmq.h>

#include "common/bus_client.h"
#include "common/bus_peers.h"
#include "common/bus_worker.h"
#include "common/mdp.h"
#include "common/schema.h"
#include "daybook/bus/v1/bus.pb-c.h"
#include "tests/support/router.h"
#include "tests/unit/common_dns_fixture.h"

#define HERE "127.0.0.1"
#define THERE "127.0.0.2"

struct hearing {
    void *pub, *sub;
    struct bus_peers *peers;
};

struct stage {
    void *zmq;
    struct router here, there; /* the same port */
    char one[64], two[128];    /* endpoints by name: bus-0; bus-0 and bus-1 */
    struct arena *arena;
    struct bus_client *client;
    struct bus_worker *worker;
    struct hearing hearing;
    struct bus_address address; /* the worker's */
};

static int open_stage(void **state)
{
    struct stage *s = calloc(1, sizeof *s);
    char there[128];

    assert_non_null(s);
    s->zmq = zmq_ctx_new();
    s->arena = arena_new(16 * MIB);
    router_open(&s->here, s->zmq, "tcp://" HERE ":*");
    const char *port = strrchr(s->here.endpoint, ':');
    snprintf(there, sizeof there, "tcp://" THERE "%s", port);
    router_open(&s->there, s->zmq, there);
    snprintf(s->one, sizeof s->one, "tcp://bus-0%s", port);
    snprintf(s->two, sizeof s->two, "tcp://bus-0%s,tcp://bus-1%s", port, port);
    *state = s;
    return 0;
}

static int close_stage(void **state)
{
    struct stage *s = *state;
    bus_client_free(s->client);
    bus_worker_free(s->worker);
    if (s->hearing.sub) {
        zmq_close(s->hearing.sub);
        zmq_close(s->hearing.pub);
        bus_peers_free(s->hearing.peers);
    }
    router_close(&s->here);
    router_close(&s->there);
    zmq_ctx_term(s->zmq);
    arena_free(s->arena);
    free(s);
    return dns_reset(NULL);
}

/* --- a client ------------------------------------------------------------------------------------ */

static void open_client(struct stage *s, const char *endpoint)
{
    s->client = bus_client_new(s->zmq, &(struct bus_address){ .endpoint = endpoint });
    assert_non_null(s->client);
}

static enum err ask(struct stage *s)
{
    Daybook__Bus__V1__GetHeadRequest message = DAYBOOK__BUS__V1__GET_HEAD_REQUEST__INIT;
    return bus_client_send(s->client,
                           &(struct bus_request){ .service = "daybook.bus.v1.EventService",
                                                  .method = "GetHead",
                                                  .message = &message.base,
                                                  .timeout_us = slack(10 * SECOND_US) },
                           s->arena);
}

static bool comes(struct router *r)
{
    struct bus_frames f;
    bool any = router_receive(r, 0, &f);
    if (any)
        bus_frames_close(&f);
    return any;
}

/* Asks, and waits for the request, so that none is on its way when the next is sent. */
static struct router *asked(struct stage *s)
{
    struct router *at = NULL;
    assert_int_equal(ask(s), ERR_OK);
    WAIT_UNTIL((at = comes(&s->here)    ? &s->here
                     : comes(&s->there) ? &s->there
                                        : NULL),
               DNS_WAIT_US);
    return at;
}

static void requests_go_by_the_other_bus_while_a_name_hangs(void **state)
{
    struct stage *s = *state;
    dns_set("bus-0", HERE, true);
    dns_set("bus-1", THERE, false);
    open_client(s, s->two);
    for (int i = 0; i < 20; i++)
        assert_ptr_equal(asked(s), &s->there);
    assert_int_equal(dns_lookups("bus-0"), 1); /* it hangs still */
    dns_set("bus-0", HERE, false);
    WAIT_UNTIL(asked(s) == &s->here, DNS_WAIT_US);
}

static void a_bus_whose_name_is_not_known_is_away(void **state)
{
    struct stage *s = *state;
    dns_set("bus-0", HERE, true);
    open_client(s, s->one);
    int64_t begun_us = clock_monotonic_us();
    assert_int_equal(ask(s), ERR_UNAVAILABLE);
    assert_true(clock_monotonic_us() - begun_us < slack(5 * SECOND_US));
    dns_set("bus-0", HERE, false);
    WAIT_UNTIL(ask(s) == ERR_OK, DNS_WAIT_US);
    WAIT_UNTIL(comes(&s->here), DNS_WAIT_US);
}

static void a_bus_that_moves_is_followed(void **state)
{
    struct stage *s = *state;
    dns_set("bus-0", HERE, false);
    open_client(s, s->one);
    assert_ptr_equal(asked(s), &s->here);
    dns_set("bus-0", THERE, false);
    WAIT_UNTIL(asked(s) == &s->there, DNS_WAIT_US);
    for (int i = 0; i < 4; i++)
        assert_ptr_equal(asked(s), &s->there); /* the old connection is gone */
}

/* --- a subscriber -------------------------------------------------------------------------------- */

/* The publisher takes the place of the bus THERE. */
static struct hearing open_hearing(struct stage *s, const char *endpoints)
{
    struct hearing h = { .pub = zmq_socket(s->zmq, ZMQ_PUB), .sub = zmq_socket(s->zmq, ZMQ_SUB) };
    char endpoint[64];

    router_close(&s->there);
    snprintf(endpoint, sizeof endpoint, "tcp://" THERE "%s", strrchr(s->here.endpoint, ':'));
    WAIT_UNTIL(zmq_bind(h.pub, endpoint) == 0, DNS_WAIT_US);
    assert_int_equal(zmq_setsockopt(h.sub, ZMQ_SUBSCRIBE, "", 0), 0);
    h.peers = bus_peers_new(h.sub, endpoints);
    s->hearing = h;
    assert_non_null(h.peers);
    return h;
}

static bool hears(struct hearing *h)
{
    char byte;
    assert_int_equal(zmq_send(h->pub, "x", 1, 0), 1);
    return zmq_recv(h->sub, &byte, 1, ZMQ_DONTWAIT) == 1;
}

static void a_subscriber_follows_too(void **state)
{
    struct stage *s = *state;
    dns_set("bus-0", NULL, false);
    struct hearing h = open_hearing(s, s->one);
    assert_false(bus_peers_follow(h.peers));
    assert_true(bus_peers_wait_us(h.peers) < SECOND_US);
    dns_set("bus-0", "127.0.0.3", false);
    WAIT_UNTIL(bus_peers_follow(h.peers), DNS_WAIT_US);
    assert_false(bus_peers_has_moved(h.peers));
    assert_int_equal(bus_peers_wait_us(h.peers), SECOND_US);
    dns_set("bus-0", THERE, false);
    WAIT_UNTIL(bus_peers_has_moved(h.peers), DNS_WAIT_US);
    assert_true(bus_peers_follow(h.peers));
    WAIT_UNTIL(hears(&h), DNS_WAIT_US);
}

/* Both names lead to one bus; then one of them does not, which must not end the other's connection. */
static void names_of_one_address_share_it(void **state)
{
    struct stage *s = *state;
    dns_set("bus-0", THERE, false);
    dns_set("bus-1", THERE, false);
    struct hearing h = open_hearing(s, s->two);
    WAIT_UNTIL((bus_peers_follow(h.peers), bus_peers_wait_us(h.peers) == SECOND_US), DNS_WAIT_US);
    WAIT_UNTIL(hears(&h), DNS_WAIT_US);
    dns_set("bus-1", "127.0.0.3", false);
    WAIT_UNTIL(bus_peers_follow(h.peers), DNS_WAIT_US);
    (void)poll(NULL, 0, 100); /* what must not happen would have happened */
    while (zmq_recv(h.sub, &(char){ 0 }, 1, ZMQ_DONTWAIT) == 1)
        ;
    WAIT_UNTIL(hears(&h), DNS_WAIT_US);
}

/* --- a worker ------------------------------------------------------------------------------------ */

static void never(void *arg UNUSED, struct pool_job *job UNUSED)
{
    fail_msg("nobody asked");
}

static void open_worker(struct stage *s, const char *endpoint)
{
    static const char *const services[] = { "test.A" };
    s->address = (struct bus_address){ .endpoint = endpoint };
    s->worker = bus_worker_new(&(struct bus_worker_def){ .zmq_context = s->zmq,
                                                         .address = &s->address,
                                                         .services = services,
                                                         .nservices = 1,
                                                         .nslots = 1,
                                                         .submit = never });
    assert_non_null(s->worker);
    bus_worker_enlist(s->worker, clock_monotonic_us());
}

static bool turn(struct stage *s, struct router *r, uint8_t command)
{
    struct bus_worker *w = s->worker;
    struct bus_frames f;
    zmq_pollitem_t items[8];
    bool is = false;

    (void)zmq_poll(items, (int)bus_worker_items(w, items), 1);
    (void)bus_worker_serve(w, clock_monotonic_us());
    if (router_receive(r, 0, &f)) {
        is = f.n >= 3 && *(uint8_t *)zmq_msg_data(&f.frame[2]) == command;
        bus_frames_close(&f);
    }
    return is;
}

static void a_worker_is_at_the_other_bus_while_a_name_hangs(void **state)
{
    struct stage *s = *state;
    dns_set("bus-0", HERE, true);
    dns_set("bus-1", THERE, false);
    open_worker(s, s->two);
    WAIT_UNTIL(turn(s, &s->there, MDP02_W_READY), DNS_WAIT_US);
    WAIT_UNTIL(turn(s, &s->there, MDP02_W_HEARTBEAT), DNS_WAIT_US);
    assert_true(bus_worker_registered(s->worker));
    dns_set("bus-0", HERE, false);
    WAIT_UNTIL(turn(s, &s->here, MDP02_W_READY), DNS_WAIT_US);
}

static void a_worker_leaves_the_old_address_and_is_ready_at_the_new(void **state)
{
    struct stage *s = *state;
    dns_set("bus-0", HERE, false);
    open_worker(s, s->one);
    WAIT_UNTIL(turn(s, &s->here, MDP02_W_READY), DNS_WAIT_US);
    dns_set("bus-0", THERE, false);
    WAIT_UNTIL(turn(s, &s->here, MDP02_W_DISCONNECT), DNS_WAIT_US);
    WAIT_UNTIL(turn(s, &s->there, MDP02_W_READY), DNS_WAIT_US);
}

/* Nobody is at the first address: the link waits for its connection. */
static void a_worker_that_waits_for_a_connection_follows(void **state)
{
    struct stage *s = *state;
    dns_set("bus-0", "127.0.0.3", false);
    open_worker(s, s->one);
    WAIT_UNTIL(!turn(s, &s->there, MDP02_W_READY) && dns_lookups("bus-0") == 2, DNS_WAIT_US);
    dns_set("bus-0", THERE, false);
    WAIT_UNTIL(turn(s, &s->there, MDP02_W_READY), DNS_WAIT_US);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_stage, close_stage)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(requests_go_by_the_other_bus_while_a_name_hangs),
        TEST(a_bus_whose_name_is_not_known_is_away),
        TEST(a_bus_that_moves_is_followed),
        TEST(names_of_one_address_share_it),
        TEST(a_subscriber_follows_too),
        TEST(a_worker_is_at_the_other_bus_while_a_name_hangs),
        TEST(a_worker_leaves_the_old_address_and_is_ready_at_the_new),
        TEST(a_worker_that_waits_for_a_connection_follows),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    schema_fini();
    return failed;
}
