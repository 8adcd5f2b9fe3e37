/* HTTP exchanges and Connect calls, by a client that writes bytes: what may go wrong between the two
 * (protocols B, F50, F63). The wire format itself is checked by the official conformance suite. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <netinet/tcp.h>
#include <poll.h>

#include "tests/unit/gateway_client.h"
#include "tests/unit/gateway_hooks.h"

#define LIST "/daybook.customers.v1.CustomerService/List"
#define STREAM "/daybook.bus.v1.EventService/StreamEvents"
#define JSON "Content-Type: application/json\r\n"
#define PROTO "Content-Type: application/proto\r\n"
#define LARGE (32 * MIB)
#define REQUESTS 4
#define PLACES 4

struct fixture {
    struct web web;
    struct http_loop *loop;
    struct connect *connect;
    struct connect_call *call; /* the last one, not answered yet */
    int calls, gone, drained;
    bool refusing; /* whoever begins */
    int refused;
};

static bool on_admit(void *arg, struct connect_call *call)
{
    struct fixture *f = arg;

    if (!f->refusing)
        return true;
    f->refused++;
    connect_fail_text(call, ERR_UNAUTHENTICATED, "who are you?");
    return false;
}

static void on_call(void *arg, struct connect_call *call)
{
    struct fixture *f = arg;
    f->call = call;
    f->calls++;
}

static void on_call_gone(void *arg, struct connect_call *call)
{
    struct fixture *f = arg;
    f->gone++;
    if (f->call == call)
        f->call = NULL;
}

static void on_call_drained(void *arg, struct connect_call *call UNUSED)
{
    ((struct fixture *)arg)->drained++;
}

/* One wait of the loop, exactly as long as it asks for, up to 20 ms. */
static void turn(void *arg)
{
    struct fixture *f = arg;
    struct pollfd p = { .fd = http_loop_fd(f->loop), .events = POLLIN };
    int64_t wait_us = MIN(20 * MSEC_US, http_loop_wait_us(f->loop));
    (void)poll(&p, 1, (int)(wait_us / MSEC_US));
    http_loop_run(f->loop);
    connect_tick(f->connect, clock_monotonic_us());
}

static bool untold; /* what was received */

int __real_getsockopt(int fd, int level, int name, void *value, socklen_t *len);
int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *len);
int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
    if (untold && level == IPPROTO_TCP && name == TCP_INFO) {
        errno = ENOPROTOOPT;
        return -1;
    }
    return __real_getsockopt(fd, level, name, value, len);
}

static int set_up_with(void **state, int64_t header_us, int64_t body_us, unsigned connections)
{
    static struct fixture f;
    struct http_limits limits = http_limits_default;

    schema_init();
    untold = false;
    memset(&f, 0, sizeof(f));
    limits.body_max = 1000;
    limits.url_max = 500;
    limits.headers_max = 20;
    limits.header_us = header_us;
    limits.body_us = body_us;
    limits.rate_min = 64 * MIB;
    limits.requests_max = REQUESTS;
    limits.connections_max = connections;
    f.connect =
        connect_new(&(struct connect_config){ .message_max = 1000,
                                              .cors_origin = "https://a.example, https://b.example",
                                              .admit = on_admit,
                                              .on_call = on_call,
                                              .on_gone = on_call_gone,
                                              .on_drained = on_call_drained,
                                              .arg = &f });
    f.loop = loop_of(f.connect, &limits);
    f.web = (struct web){ .loop = f.loop, .turn = turn, .arg = &f };
    *state = &f;
    return f.connect && f.loop ? 0 : -1;
}

static int set_up(void **state)
{
    return set_up_with(state, 300 * MSEC_US, 300 * MSEC_US, 100);
}

static int set_up_patient(void **state)
{
    return set_up_with(state, 300 * MSEC_US, 600 * SECOND_US, 100);
}

static int set_up_narrow(void **state)
{
    return set_up_with(state, 600 * SECOND_US, 600 * SECOND_US, PLACES);
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    http_loop_free(f->loop);
    connect_free(f->connect);
    return 0;
}

/* --- tests ------------------------------------------------------------------------------------ */

static void turn_until_called(struct fixture *f, int calls)
{
    int64_t until_us = clock_monotonic_us() + WAIT_US;
    while (f->calls < calls && clock_monotonic_us() < until_us)
        turn(f);
    assert_int_equal(f->calls, calls);
}

static void turn_until_exchanges(struct fixture *f, unsigned n)
{
    int64_t until_us = clock_monotonic_us() + WAIT_US;
    while (http_loop_exchanges(f->loop) != n && clock_monotonic_us() < until_us)
        turn(f);
    assert_int_equal(http_loop_exchanges(f->loop), n);
}

static void turn_until_over(struct fixture *f)
{
    turn_until_exchanges(f, 0);
}

static void reply(struct fixture *f)
{
    struct connect_call *call = f->call;
    assert_non_null(call);
    f->call = NULL;
    connect_reply(call, "", 0);
}

static void an_answer_that_is_given_later_goes_out_at_once(void **state)
{
    struct fixture *f = *state;
    int fd = web_dial(&f->web);
    web_say(fd, "POST " LIST " HTTP/1.1\r\nHost: x\r\n" JSON "Content-Length: 2\r\n\r\n{}");
    turn_until_called(f, 1);
    for (int i = 0; i < 3; i++)
        turn(f);
    assert_true(web_hear(&f->web, fd));
    assert_int_equal(f->web.len, 0);
    reply(f);
    assert_int_equal(http_loop_wait_us(f->loop), 0); /* nothing else would wake the loop */
    turn(f);
    web_until(&f->web, fd, "\r\n\r\n{}");
    assert_non_null(strstr(f->web.got, "HTTP/1.1 200 "));
    close(fd);
}

static void a_connection_serves_one_call_after_the_other(void **state)
{
    struct fixture *f = *state;
    int fd = web_dial(&f->web);
    for (int i = 1; i <= 3; i++) {
        f->web.len = 0;
        web_say(fd, "POST " LIST " HTTP/1.1\r\nHost: x\r\n" JSON
                    "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n");
        turn_until_called(f, i);
        reply(f);
        web_until(&f->web, fd, "\r\n\r\n{}");
    }
    close(fd);
}

/* So that clients spread over what was added since. */
static void a_connection_has_so_many_requests_and_no_more(void **state)
{
    struct fixture *f = *state;
    int fd = web_dial(&f->web);

    for (int i = 1; i <= REQUESTS; i++) {
        f->web.len = 0;
        web_say(fd, "POST " LIST " HTTP/1.1\r\nHost: x\r\n" JSON "Content-Length: 2\r\n\r\n{}");
        turn_until_called(f, i);
        reply(f);
        web_until(&f->web, fd, "\r\n\r\n{}");
        assert_true(web_heard(&f->web, "Connection: close\r\n") == (i == REQUESTS));
    }
    int64_t until_us = clock_monotonic_us() + WAIT_US;
    while (web_hear(&f->web, fd) && clock_monotonic_us() < until_us)
        turn(f);
    assert_false(web_hear(&f->web, fd));
    close(fd);
}

static void a_client_that_goes_is_told_of_once(void **state)
{
    struct fixture *f = *state;
    int fd = web_dial(&f->web);
    web_say(fd, "POST " LIST " HTTP/1.1\r\nHost: x\r\n" JSON "Content-Length: 2\r\n\r\n{}");
    turn_until_called(f, 1);
    close(fd);
    int64_t until_us = clock_monotonic_us() + WAIT_US;
    while (http_loop_exchanges(f->loop) && clock_monotonic_us() < until_us)
        turn(f);
    assert_int_equal(f->gone, 1);
    assert_int_equal(http_loop_exchanges(f->loop), 0);
}

static void time_that_is_up_is_answered_without_the_handler(void **state)
{
    struct fixture *f = *state;
    int fd = web_dial(&f->web);
    web_say(fd, "POST " LIST " HTTP/1.1\r\nHost: x\r\n" JSON
                "Connect-Timeout-Ms: 30\r\nContent-Length: 2\r\n\r\n{}");
    turn_until_called(f, 1);
    web_until(&f->web, fd, "deadline_exceeded");
    assert_non_null(strstr(f->web.got, "HTTP/1.1 504 "));
    assert_int_equal(f->gone, 1);
    close(fd);
}

static void a_header_that_never_ends_costs_the_connection_F50(void **state)
{
    struct fixture *f = *state;
    int fd = web_dial(&f->web);
    int64_t began_us = clock_monotonic_us(), said_us = 0;
    web_say(fd, "POST " LIST " HTTP/1.1\r\nHost: x\r\n");
    bool open = true;
    while (open && clock_monotonic_us() < began_us + WAIT_US) {
        turn(f);
        open = web_hear(&f->web, fd);
        if (open && clock_monotonic_us() > said_us + 50 * MSEC_US) {
            said_us = clock_monotonic_us();
            open = send(fd, "X: y\r\n", 6, MSG_NOSIGNAL) == 6; /* never idle */
        }
    }
    assert_false(open);
    assert_int_equal(f->calls, 0);
    close(fd);
}

static bool is_open(struct fixture *f, int fd)
{
    f->web.len = 0;
    return web_hear(&f->web, fd);
}

static void turn_until_ended(struct fixture *f, int fd)
{
    int64_t until_us = clock_monotonic_us() + WAIT_US;
    while (is_open(f, fd) && clock_monotonic_us() < until_us)
        turn(f);
    assert_false(is_open(f, fd));
}

/* One that asks finds a place where all are taken: the oldest of those that ask nothing goes. One
 * that is waiting for us stays, and one that has been served lately. */
static void connections_that_ask_nothing_make_room_F50(void **state)
{
    struct fixture *f = *state;
    int asking = web_dial(&f->web), served, idle[PLACES];

    web_say(asking, "POST " LIST " HTTP/1.1\r\nHost: x\r\n" JSON "Content-Length: 2\r\n\r\n{}");
    turn_until_called(f, 1);
    struct connect_call *first = f->call;
    for (int i = 0; i < PLACES; i++) {
        idle[i] = web_dial(&f->web);
        web_say(idle[i], "POST / HTTP/1.1\r\nX-Slow: "); /* its header never ends */
        turn(f);
    }
    turn_until_ended(f, idle[0]);
    served = web_dial(&f->web);
    web_say(served, "POST " LIST " HTTP/1.1\r\nHost: x\r\n" JSON "Content-Length: 2\r\n\r\n{}");
    turn_until_called(f, 2);
    reply(f);
    web_until(&f->web, served, "HTTP/1.1 200 ");
    turn_until_ended(f, idle[1]);

    int last = web_dial(&f->web);
    turn_until_ended(f, idle[2]);
    assert_true(is_open(f, idle[3]) && is_open(f, served));
    f->call = first;
    reply(f);
    web_until(&f->web, asking, "HTTP/1.1 200 ");
    for (int i = 0; i < PLACES; i++)
        close(idle[i]);
    close(asking);
    close(served);
    close(last);
}

/* Asks, and is refused by his header; the connection is as good as before. */
static void ask(int fd)
{
    web_say(fd, "POST " LIST " HTTP/1.1\r\nHost: x\r\n" JSON "Content-Length: 2\r\n\r\n{}");
}

static void turn_until_refused(struct fixture *f, int fd)
{
    f->web.len = 0;
    web_until(&f->web, fd, "unauthenticated");
}

static int dial_and_be_refused(struct fixture *f)
{
    int fd = web_dial(&f->web);
    ask(fd);
    turn_until_refused(f, fd);
    return fd;
}

/* Though its time is up before theirs. */
static void an_upload_stays_where_idle_ones_make_room_F50(void **state)
{
    struct fixture *f = *state;
    int idle[PLACES - 1], upload = web_dial(&f->web);

    web_say(upload, "POST " LIST " HTTP/1.1\r\nHost: x\r\n" JSON "Content-Length: 2\r\n\r\n{");
    turn_until_exchanges(f, 1);
    f->refusing = true;
    for (int i = 0; i < PLACES - 1; i++)
        idle[i] = dial_and_be_refused(f);
    for (int i = 0; i < PLACES - 1; i++) {
        int newcomer = dial_and_be_refused(f);
        turn_until_ended(f, idle[i]);
        close(idle[i]);
        idle[i] = newcomer;
    }
    web_say(upload, "}");
    turn_until_called(f, 1);
    reply(f);
    f->web.len = 0;
    web_until(&f->web, upload, "HTTP/1.1 200 ");
    for (int i = 0; i < PLACES - 1; i++)
        close(idle[i]);
    close(upload);
}

/* All of them are there before one was read. */
static void newcomers_do_not_displace_each_other_F50(void **state)
{
    struct fixture *f = *state;
    int idle[PLACES], newcomer[PLACES];

    f->refusing = true;
    for (int i = 0; i < PLACES; i++)
        idle[i] = dial_and_be_refused(f);
    for (int i = 0; i < PLACES; i++) {
        newcomer[i] = web_dial(&f->web);
        ask(newcomer[i]);
    }
    for (int i = 0; i < PLACES; i++)
        turn_until_refused(f, newcomer[i]);
    for (int i = 0; i < PLACES; i++) {
        turn_until_ended(f, idle[i]);
        close(idle[i]);
        close(newcomer[i]);
    }
}

static void limits_have_their_answers_F63(void **state)
{
    struct fixture *f = *state;
    char request[8192];
    static const char xs[] =
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
    int fd = web_dial(&f->web);
    int n = snprintf(request, sizeof(request), "GET " LIST "?");
    for (int i = 0; i < 8; i++)
        n += snprintf(request + n, sizeof(request) - (size_t)n, "%s", xs);
    snprintf(request + n, sizeof(request) - (size_t)n, " HTTP/1.1\r\nHost: x\r\n\r\n");
    web_say(fd, request);
    web_until(&f->web, fd, "HTTP/1.1 414 ");
    close(fd);

    fd = web_dial(&f->web);
    n = snprintf(request, sizeof(request), "POST " LIST " HTTP/1.1\r\nHost: x\r\n");
    for (int i = 0; i < 30; i++)
        n += snprintf(request + n, sizeof(request) - (size_t)n, "X-%d: y\r\n", i);
    snprintf(request + n, sizeof(request) - (size_t)n, "Content-Length: 0\r\n\r\n");
    web_say(fd, request);
    web_until(&f->web, fd, "HTTP/1.1 431 ");
    close(fd);

    fd = web_dial(&f->web);
    n = snprintf(request, sizeof(request),
                 "POST " LIST " HTTP/1.1\r\nHost: x\r\n" JSON "Content-Length: 1100\r\n\r\n");
    memset(request + n, ' ', 1100);
    request[n + 1100] = '\0';
    web_say(fd, request);
    web_until(&f->web, fd, "resource_exhausted");
    assert_non_null(strstr(f->web.got, "HTTP/1.1 429 "));
    close(fd);
    assert_int_equal(f->calls, 0);
}

/* A stranger is known by his header; his body is dropped as it comes, though it be larger than what
 * is kept of one, and the connection is as good as before. */
static void a_stranger_is_refused_by_his_header(void **state)
{
    struct fixture *f = *state;
    char block[1001];
    int fd = web_dial(&f->web);

    f->refusing = true;
    memset(block, ' ', 1000);
    block[1000] = '\0';
    for (int again = 0; again < 2; again++) {
        f->web.len = 0;
        web_say(fd, "POST " LIST " HTTP/1.1\r\nHost: x\r\n" JSON "Content-Length: 5000\r\n\r\n");
        int64_t until_us = clock_monotonic_us() + WAIT_US;
        while (f->refused == again && clock_monotonic_us() < until_us)
            turn(f);
        assert_int_equal(f->refused, again + 1);
        assert_true(web_hear(&f->web, fd));
        assert_int_equal(f->web.len, 0); /* who still sends would lose it */
        for (int i = 0; i < 5; i++)
            web_say(fd, block);
        web_until(&f->web, fd, "unauthenticated");
        assert_non_null(strstr(f->web.got, "HTTP/1.1 401 "));
    }
    f->refusing = false;
    f->web.len = 0;
    web_say(fd, "POST " LIST " HTTP/1.1\r\nHost: x\r\n" JSON "Content-Length: 2\r\n\r\n{}");
    turn_until_called(f, 1);
    reply(f);
    web_until(&f->web, fd, "\r\n\r\n{}");
    close(fd);
    assert_int_equal(f->gone, 0);
}

static void one_who_asks_before_he_sends_is_told_at_once(void **state)
{
    struct fixture *f = *state;
    int fd = web_dial(&f->web);

    f->refusing = true;
    web_say(fd, "POST " LIST " HTTP/1.1\r\nHost: x\r\n" JSON
                "Expect: 100-continue\r\nContent-Length: 5000\r\n\r\n");
    web_until(&f->web, fd, "unauthenticated");
    assert_memory_equal(f->web.got, "HTTP/1.1 401 ", 13);
    close(fd);

    f->refusing = false;
    fd = web_dial(&f->web);
    web_say(fd, "POST " LIST " HTTP/1.1\r\nHost: x\r\n" JSON
                "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    web_until(&f->web, fd, "HTTP/1.1 100 ");
    web_say(fd, "{}");
    turn_until_called(f, 1);
    reply(f);
    web_until(&f->web, fd, "HTTP/1.1 200 ");
    close(fd);
}

static void a_stranger_who_never_ends_costs_the_connection_F50(void **state)
{
    struct fixture *f = *state;
    int fd = web_dial(&f->web);

    f->refusing = true;
    web_say(fd, "POST " LIST " HTTP/1.1\r\nHost: x\r\n" JSON "Content-Length: 5000\r\n\r\nx");
    int64_t until_us = clock_monotonic_us() + WAIT_US;
    while (f->refused == 0 && clock_monotonic_us() < until_us)
        turn(f);
    turn_until_over(f);
    assert_int_equal(f->calls + f->gone, 0);
    close(fd);
}

/* Known or not. */
static void a_body_that_never_ends_costs_the_connection_F50(void **state)
{
    struct fixture *f = *state;
    int fd = web_dial(&f->web);
    int64_t began_us = clock_monotonic_us(), said_us = 0;

    web_say(fd, "POST " LIST " HTTP/1.1\r\nHost: x\r\n" JSON "Content-Length: 900\r\n\r\n");
    bool open = true;
    while (open && clock_monotonic_us() < began_us + WAIT_US) {
        turn(f);
        open = web_hear(&f->web, fd);
        if (open && clock_monotonic_us() > said_us + 50 * MSEC_US) {
            said_us = clock_monotonic_us();
            open = send(fd, " ", 1, MSG_NOSIGNAL) == 1; /* never idle */
        }
    }
    assert_false(open);
    assert_int_equal(f->calls, 0);
    close(fd);
}

/* An answer larger than what the kernel keeps for a client who takes none of it. */
static void give_large_answer(struct fixture *f)
{
    struct connect_call *call = f->call;
    void *data = calloc(1, LARGE);

    assert_non_null(call);
    assert_non_null(data);
    f->call = NULL;
    connect_reply(call, data, LARGE);
    free(data);
}

static void an_answer_that_is_not_taken_costs_the_connection_F50(void **state)
{
    struct fixture *f = *state;
    int fd = web_dial(&f->web);

    web_say(fd, "POST " LIST " HTTP/1.1\r\nHost: x\r\n" PROTO "Content-Length: 0\r\n\r\n");
    turn_until_called(f, 1);
    give_large_answer(f);
    turn(f);
    assert_int_equal(http_loop_exchanges(f->loop), 1);
    turn_until_over(f);
    close(fd);
}

static void a_file_that_is_not_taken_costs_the_connection_F50(void **state)
{
    struct fixture *f = *state;
    static const char block[64 * KIB];
    int fd = web_dial(&f->web);

    web_say(fd, "POST " STREAM " HTTP/1.1\r\nHost: x\r\nContent-Type: application/connect+proto\r\n"
                "Content-Length: 5\r\n\r\n");
    web_say_bytes(fd, "\0\0\0\0\0", 5);
    turn_until_called(f, 1);
    http_stream_hasten(connect_exchange(f->call));
    connect_begin(f->call);
    for (size_t len = 0; len < LARGE; len += sizeof(block))
        (void)connect_send_encoded(f->call, block, sizeof(block));
    turn_until_over(f);
    assert_int_equal(f->gone, 1);
    close(fd);
}

/* From the client's end of the connection on, whatever libmicrohttpd has made of his head. */
static void a_head_that_the_library_refuses_leaves_nothing_behind_F50(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *begin, *again, *end;
    } heads[] = {
        { "GET " LIST "?", "a&", " HTTP/1.1\r\nHost: x\r\n\r\n" },
        { "GET " LIST " HTTP/1.1\r\nHost: x\r\nCookie: ", "a;", "\r\n\r\n" },
        { "POST " LIST " HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\nCookie: ", "a;", "\r\n\r\n" },
        { "GET " LIST " HTTP/1.1\r\nHost: x\r\nX: y\r\n", " z\r\n", "\r\n" },
        { "GET " LIST " HTTP/1.1\r\nHost: x\r\n", "X: y\r\n", "\r\n" },
    };
    for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
        char request[32 * KIB];
        int fd = web_dial(&f->web), n = snprintf(request, sizeof(request), "%s", heads[i].begin);
        for (int k = 0; k < 3000; k++)
            n += snprintf(request + n, sizeof(request) - (size_t)n, "%s", heads[i].again);
        snprintf(request + n, sizeof(request) - (size_t)n, "%s", heads[i].end);
        web_say(fd, request);
        int64_t until_us = clock_monotonic_us() + WAIT_US;
        while (web_hear(&f->web, fd) && clock_monotonic_us() < until_us)
            turn(f);
        close(fd);
        turn_until_over(f);
    }
    assert_int_equal(f->calls, 0);
}

/* Such a connection keeps the loop busy. Time is not what ends it here. */
static void a_chunk_size_without_an_end_costs_the_connection_F50(void **state)
{
    struct fixture *f = *state;
    static const char *const begins[] = { "1;", "2\r\n{}\r\n1;", "0" };

    for (size_t i = 0; i < ARRAY_LEN(begins); i++) {
        char line[64 * KIB];
        int fd = web_dial(&f->web);
        memset(line, '0', sizeof(line));
        web_say(fd,
                "POST " LIST " HTTP/1.1\r\nHost: x\r\n" JSON "Transfer-Encoding: chunked\r\n\r\n");
        web_say(fd, begins[i]);
        assert_true(web_send(fd, line, sizeof(line)) > 0);
        int64_t until_us = clock_monotonic_us() + WAIT_US;
        while (web_hear(&f->web, fd) && clock_monotonic_us() < until_us)
            turn(f);
        assert_false(web_hear(&f->web, fd));
        turn_until_over(f);
        close(fd);
    }
    assert_int_equal(f->calls, 0);
}

/* Where nobody knows how much was read, time alone decides. */
static void what_is_not_known_ends_no_connection(void **state)
{
    struct fixture *f = *state;
    char line[64 * KIB];
    int fd = web_dial(&f->web);

    untold = true;
    memset(line, '0', sizeof(line));
    web_say(fd,
            "POST " LIST " HTTP/1.1\r\nHost: x\r\n" JSON "Transfer-Encoding: chunked\r\n\r\n1;");
    assert_true(web_send(fd, line, sizeof(line)) > 0);
    int64_t swept_us = clock_monotonic_us() + SECOND_US; /* more than once */
    while (clock_monotonic_us() < swept_us)
        turn(f);
    assert_true(is_open(f, fd));
    untold = false;
    turn_until_ended(f, fd); /* as soon as it is known */
    close(fd);
}

/* Nor does libmicrohttpd hear of that one's end. */
static void nor_does_one_behind_another_request_keep_it_F50(void **state)
{
    struct fixture *f = *state;
    char line[64 * KIB];
    int fd = web_dial(&f->web);

    memset(line, '0', sizeof(line));
    web_say(fd, "POST " LIST " HTTP/1.1\r\nHost: x\r\n" JSON "Content-Length: 2\r\n\r\n{}"
                "POST " LIST " HTTP/1.1\r\nHost: x\r\n" JSON "Transfer-Encoding: chunked\r\n\r\n");
    assert_true(web_send(fd, line, sizeof(line)) > 0);
    turn_until_called(f, 1);
    reply(f);
    int64_t until_us = clock_monotonic_us() + WAIT_US;
    while (web_hear(&f->web, fd) && clock_monotonic_us() < until_us)
        turn(f);
    turn_until_over(f);
    close(fd);
    assert_int_equal(f->calls, 1);
}

static void a_chunk_may_have_an_extension(void **state)
{
    struct fixture *f = *state;
    int fd = web_dial(&f->web);
    char request[4 * KIB];
    char ext[2 * KIB + 1];

    memset(ext, 'x', sizeof(ext));
    ext[sizeof(ext) - 1] = '\0';
    snprintf(request, sizeof(request),
             "POST " LIST " HTTP/1.1\r\nHost: x\r\n" JSON "Transfer-Encoding: chunked\r\n\r\n1;%s",
             ext);
    web_say(fd, request);
    int64_t swept_us =
        clock_monotonic_us() + SECOND_US; /* more than once, in the middle of the line */
    while (clock_monotonic_us() < swept_us)
        turn(f);
    web_say(fd, "\r\n{\r\n1\r\n}\r\n0\r\n\r\n");
    turn_until_called(f, 1);
    reply(f);
    web_until(&f->web, fd, "HTTP/1.1 200 ");
    close(fd);
}

/* What follows a trailer may be lost, so nothing may follow it. */
static void trailers_end_the_connection(void **state)
{
    struct fixture *f = *state;
    int fd = web_dial(&f->web);

    web_say(fd, "POST " LIST " HTTP/1.1\r\nHost: x\r\n" JSON
                "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nA: b\r\n c\r\n\r\n"
                "POST " LIST " HTTP/1.1\r\nHost: x\r\n" JSON "Content-Length: 2\r\n\r\n{}");
    turn_until_called(f, 1);
    reply(f);
    web_until(&f->web, fd, "Connection: close\r\n");
    int64_t until_us = clock_monotonic_us() + WAIT_US;
    while (web_hear(&f->web, fd) && clock_monotonic_us() < until_us)
        turn(f);
    assert_false(web_hear(&f->web, fd));
    assert_int_equal(f->calls, 1);
    close(fd);
}

/* Whose end comes along with his last bytes. */
static void a_client_that_has_ended_is_not_waited_for(void **state)
{
    struct fixture *f = *state;
    int fd = web_dial(&f->web);

    f->refusing = true;
    web_say(fd, "POST " LIST " HTTP/1.1\r\nHost: x\r\n" JSON "Content-Length: 2\r\n\r\n{}");
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    web_until(&f->web, fd, "unauthenticated");
    int64_t until_us = clock_monotonic_us() + WAIT_US;
    while (web_hear(&f->web, fd) && clock_monotonic_us() < until_us)
        turn(f);
    assert_false(web_hear(&f->web, fd));
    close(fd);
}

/* Nor is one who ended in the midst of his request, whether or not he is known by then. */
static void nor_is_one_whose_request_is_cut_short(void **state)
{
    struct fixture *f = *state;
    static const char *const requests[] = {
        "POST " LIST " HTTP/1.1\r\nHost: x\r\n",
        "POST " LIST " HTTP/1.1\r\nHost: x\r\n" JSON "Content-Length: 9\r\n\r\n{",
        "POST " LIST " HTTP/1.1\r\nHost: x\r\n" JSON "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
    };

    for (size_t i = 0; i < 2 * ARRAY_LEN(requests); i++) {
        int fd = web_dial(&f->web);
        f->refusing = i % 2;
        web_say(fd, requests[i / 2]);
        assert_int_equal(shutdown(fd, SHUT_WR), 0);
        turn_until_ended(f, fd);
        turn_until_over(f);
        close(fd);
    }
    assert_int_equal(f->calls, 0);
}

static void an_envelope_that_is_cut_short_is_wrong(void **state)
{
    struct fixture *f = *state;
    for (size_t len = 1; len <= 5; len++) {
        char request[256];
        int fd = web_dial(&f->web);
        snprintf(request, sizeof(request),
                 "POST " STREAM
                 " HTTP/1.1\r\nHost: x\r\nContent-Type: application/connect+proto\r\n"
                 "Content-Length: %zu\r\n\r\n",
                 len);
        web_say(fd, request);
        web_say_bytes(fd, "\0\0\0\0\1", len);
        web_until(&f->web, fd, "invalid_argument");
        close(fd);
    }
    assert_int_equal(f->calls, 0);
}

static void browsers_of_listed_origins_may_call(void **state)
{
    struct fixture *f = *state;
    int fd = web_dial(&f->web);
    web_say(fd, "OPTIONS " LIST " HTTP/1.1\r\nHost: x\r\nOrigin: https://b.example\r\n"
                "Access-Control-Request-Method: POST\r\n\r\n");
    web_until(&f->web, fd, "\r\n\r\n");
    assert_non_null(strstr(f->web.got, "HTTP/1.1 204 "));
    assert_non_null(strstr(f->web.got, "Access-Control-Allow-Origin: https://b.example\r\n"));
    assert_non_null(strstr(f->web.got, "Access-Control-Max-Age: 7200\r\n"));
    close(fd);
    fd = web_dial(&f->web);
    web_say(fd, "OPTIONS " LIST " HTTP/1.1\r\nHost: x\r\nOrigin: https://evil.example\r\n"
                "Access-Control-Request-Method: POST\r\n\r\n");
    web_until(&f->web, fd, "\r\n\r\n");
    assert_null(strstr(f->web.got, "Access-Control-Allow-Origin"));
    close(fd);
    fd = web_dial(&f->web);
    web_say(fd, "POST " LIST " HTTP/1.1\r\nHost: x\r\nOrigin: https://a.example\r\n" JSON
                "Content-Length: 1\r\n\r\n[");
    web_until(&f->web, fd, "invalid_argument");
    assert_non_null(strstr(f->web.got, "Access-Control-Allow-Origin: https://a.example\r\n"));
    assert_non_null(strstr(f->web.got, "Access-Control-Expose-Headers: "));
    close(fd);
}

static void a_stream_says_when_its_client_is_behind_and_when_it_has_caught_up_F33(void **state)
{
    struct fixture *f = *state;
    static char block[64 * KIB];
    int fd = web_dial(&f->web), n = 0;
    memset(block, 'x', sizeof(block));
    web_say(fd, "POST " STREAM " HTTP/1.1\r\nHost: x\r\nContent-Type: application/connect+proto\r\n"
                "Content-Length: 5\r\n\r\n");
    web_say_bytes(fd, "\0\0\0\0\0", 5);
    turn_until_called(f, 1);
    connect_begin(f->call);
    while (connect_send_encoded(f->call, block, sizeof(block))) {
        assert_true(++n < 1000);
        turn(f);
    }
    assert_int_equal(f->drained, 0);
    int64_t until_us = clock_monotonic_us() + WAIT_US;
    while (f->drained == 0 && clock_monotonic_us() < until_us) {
        f->web.len = 0; /* read and forgotten */
        (void)web_hear(&f->web, fd);
        turn(f);
    }
    assert_true(f->drained > 0);
    connect_end(f->call);
    f->web.len = 0;
    while (web_hear(&f->web, fd) &&
           !(f->web.len >= 5 && memcmp(f->web.got + f->web.len - 5, "0\r\n\r\n", 5) == 0)) {
        assert_true(clock_monotonic_us() < until_us);
        if (f->web.len > WEB_TEXT_MAX / 2)
            f->web.len = 0;
        turn(f);
    }
    close(fd);
}

static void what_waits_when_the_loop_ends_is_told_of(void **state)
{
    struct fixture *f = *state;
    int fd = web_dial(&f->web);
    web_say(fd, "POST " LIST " HTTP/1.1\r\nHost: x\r\n" JSON "Content-Length: 2\r\n\r\n{}");
    turn_until_called(f, 1);
    http_loop_free(f->loop);
    f->loop = NULL;
    assert_int_equal(f->gone, 1);
    close(fd);
}

/* While others are answered, requests still come on connections that stand. */
static void a_request_that_comes_at_the_very_end_is_not_taken(void **state)
{
    struct fixture *f = *state;
    int fd = web_dial(&f->web);
    web_say(fd, "POST " LIST " HTTP/1.1\r\nHost: x\r\n" JSON "Content-Length: 2\r\n\r\n{}");
    turn_until_called(f, 1);
    reply(f);
    web_until(&f->web, fd, "\r\n\r\n{}");
    int waiting = web_dial(&f->web);
    web_say(waiting, "POST " LIST " HTTP/1.1\r\nHost: x\r\n" JSON "Content-Length: 2\r\n\r\n{}");
    turn_until_called(f, 2);
    web_say(fd, "POST " LIST " HTTP/1.1\r\nHost: x\r\n" JSON "Content-Length: 2\r\n\r\n{}");
    http_loop_free(f->loop);
    f->loop = NULL;
    assert_int_equal(f->calls, 2);
    assert_int_equal(f->gone, 1);
    close(fd);
    close(waiting);
}

/* A stop waits for no request that is half sent, and for no stream whose end is not read. */
static void a_hurried_stop_lets_the_unfinished_go(void **state)
{
    struct fixture *f = *state;
    int fd = web_dial(&f->web);
    web_say(fd, "POST " LIST " HTTP/1.1\r\nHost: x\r\n" JSON "Content-Length: 2\r\n\r\n{");
    int64_t until_us = clock_monotonic_us() + WAIT_US;
    while (http_loop_exchanges(f->loop) == 0 && clock_monotonic_us() < until_us)
        turn(f);
    http_loop_quiesce(f->loop);
    for (int i = 0; i < 3; i++)
        turn(f);
    assert_int_equal(http_loop_exchanges(f->loop), 1);
    http_loop_hurry(f->loop);
    while (http_loop_exchanges(f->loop) && clock_monotonic_us() < until_us)
        turn(f);
    assert_int_equal(http_loop_exchanges(f->loop), 0);
    close(fd);
}

/* Nor for an answer that nobody takes, however patient we are else. */
static void a_hurried_stop_lets_an_answer_go_that_is_not_taken(void **state)
{
    struct fixture *f = *state;
    int fd = web_dial(&f->web);

    web_say(fd, "POST " LIST " HTTP/1.1\r\nHost: x\r\n" PROTO "Content-Length: 0\r\n\r\n");
    turn_until_called(f, 1);
    give_large_answer(f);
    http_loop_quiesce(f->loop);
    int64_t until_us = clock_monotonic_us() + WAIT_US;
    while (http_loop_exchanges(f->loop) && clock_monotonic_us() < until_us) {
        http_loop_hurry(f->loop);
        turn(f);
    }
    assert_int_equal(http_loop_exchanges(f->loop), 0);
    close(fd);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(an_answer_that_is_given_later_goes_out_at_once),
        T(a_connection_serves_one_call_after_the_other),
        T(a_connection_has_so_many_requests_and_no_more),
        T(a_client_that_goes_is_told_of_once),
        T(time_that_is_up_is_answered_without_the_handler),
        T(a_header_that_never_ends_costs_the_connection_F50),
        cmocka_unit_test_setup_teardown(connections_that_ask_nothing_make_room_F50, set_up_narrow,
                                        tear_down),
        cmocka_unit_test_setup_teardown(an_upload_stays_where_idle_ones_make_room_F50,
                                        set_up_narrow, tear_down),
        cmocka_unit_test_setup_teardown(newcomers_do_not_displace_each_other_F50, set_up_narrow,
                                        tear_down),
        T(limits_have_their_answers_F63),
        T(a_stranger_is_refused_by_his_header),
        T(one_who_asks_before_he_sends_is_told_at_once),
        T(a_stranger_who_never_ends_costs_the_connection_F50),
        T(a_body_that_never_ends_costs_the_connection_F50),
        T(an_answer_that_is_not_taken_costs_the_connection_F50),
        T(a_file_that_is_not_taken_costs_the_connection_F50),
        T(a_head_that_the_library_refuses_leaves_nothing_behind_F50),
        cmocka_unit_test_setup_teardown(a_chunk_size_without_an_end_costs_the_connection_F50,
                                        set_up_patient, tear_down),
        cmocka_unit_test_setup_teardown(what_is_not_known_ends_no_connection, set_up_patient,
                                        tear_down),
        cmocka_unit_test_setup_teardown(nor_does_one_behind_another_request_keep_it_F50,
                                        set_up_patient, tear_down),
        cmocka_unit_test_setup_teardown(a_chunk_may_have_an_extension, set_up_patient, tear_down),
        T(trailers_end_the_connection),
        T(a_client_that_has_ended_is_not_waited_for),
        cmocka_unit_test_setup_teardown(nor_is_one_whose_request_is_cut_short, set_up_narrow,
                                        tear_down),
        T(an_envelope_that_is_cut_short_is_wrong),
        T(browsers_of_listed_origins_may_call),
        T(a_stream_says_when_its_client_is_behind_and_when_it_has_caught_up_F33),
        T(what_waits_when_the_loop_ends_is_told_of),
        T(a_request_that_comes_at_the_very_end_is_not_taken),
        T(a_hurried_stop_lets_the_unfinished_go),
        cmocka_unit_test_setup_teardown(a_hurried_stop_lets_an_answer_go_that_is_not_taken,
                                        set_up_patient, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
