/* What the bodies of requests hold in all: taken as they come, given back however a request ends, and
 * whoever finds no room is told to come again (F50, F51). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

#include "services/gateway/http/gzip.h"
#include "tests/unit/gateway_client.h"
#include "tests/unit/gateway_hooks.h"

#define LIST "/daybook.customers.v1.CustomerService/List"
#define STREAM "/daybook.bus.v1.EventService/StreamEvents"
#define JSON "Content-Type: application/json\r\n"
#define PROTO "Content-Type: application/proto\r\n"
#define TOTAL 1000
#define BODY_MAX 900
#define LARGE (32 * MIB)
#define THREADS 4
#define ROUNDS 60 /* of each loop */

struct fixture {
    struct web web;
    struct http_budget *budget;
    struct http_loop *loop;
    struct connect *connect;
    struct connect_call *call; /* the last one, not answered yet */
    int calls;
    bool at_once; /* calls are answered */
    bool copies;  /* each message is copied */
};

static void on_call(void *arg, struct connect_call *call)
{
    struct fixture *f = arg;

    f->calls++;
    if (f->copies)
        connect_message_copied(call);
    if (f->at_once)
        connect_reply(call, "", 0);
    else
        f->call = call;
}

static void on_call_gone(void *arg, struct connect_call *call UNUSED)
{
    ((struct fixture *)arg)->call = NULL;
}

static void turn(void *arg)
{
    struct fixture *f = arg;
    struct pollfd p = { .fd = http_loop_fd(f->loop), .events = POLLIN };
    int64_t wait_us = MIN(20 * MSEC_US, http_loop_wait_us(f->loop));
    (void)poll(&p, 1, (int)(wait_us / MSEC_US));
    http_loop_run(f->loop);
    connect_tick(f->connect, clock_monotonic_us());
}

static bool open_fixture(struct fixture *f, struct http_budget *budget, int64_t body_us)
{
    struct http_limits limits = http_limits_default;

    *f = (struct fixture){ .budget = budget };
    limits.body_max = BODY_MAX;
    limits.body_us = body_us;
    limits.rate_min = 64 * MIB;
    limits.budget = budget;
    f->connect = connect_new(&(struct connect_config){ .message_max = BODY_MAX,
                                                       .error_domain = ERR_DOMAIN,
                                                       .on_call = on_call,
                                                       .on_gone = on_call_gone,
                                                       .arg = f });
    f->loop = loop_of(f->connect, &limits);
    f->web = (struct web){ .loop = f->loop, .turn = turn, .arg = f };
    return budget && f->connect && f->loop;
}

static int set_up_with(void **state, int64_t body_us)
{
    static struct fixture f;

    schema_init();
    *state = &f;
    return open_fixture(&f, http_budget_new(TOTAL), body_us) ? 0 : -1;
}

static int set_up(void **state)
{
    return set_up_with(state, 600 * SECOND_US);
}

static int set_up_impatient(void **state)
{
    return set_up_with(state, 300 * MSEC_US);
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    http_loop_free(f->loop);
    connect_free(f->connect);
    size_t held = http_budget_held(f->budget);
    http_budget_free(f->budget);
    return held == 0 ? 0 : -1;
}

/* --- tests ------------------------------------------------------------------------------------ */

static void turn_until_held(struct fixture *f, size_t bytes)
{
    int64_t until_us = clock_monotonic_us() + WAIT_US;
    while (http_budget_held(f->budget) != bytes && clock_monotonic_us() < until_us)
        turn(f);
    assert_int_equal(http_budget_held(f->budget), bytes);
}

static void turn_until_called(struct fixture *f, int calls)
{
    int64_t until_us = clock_monotonic_us() + WAIT_US;
    while (f->calls < calls && clock_monotonic_us() < until_us)
        turn(f);
    assert_int_equal(f->calls, calls);
}

static void turn_until_over(struct fixture *f)
{
    int64_t until_us = clock_monotonic_us() + WAIT_US;
    while (http_loop_exchanges(f->loop) && clock_monotonic_us() < until_us)
        turn(f);
    assert_int_equal(http_loop_exchanges(f->loop), 0);
}

static void say_header(int fd, const char *type, const char *more, size_t len)
{
    char header[512];
    snprintf(header, sizeof(header),
             "POST " LIST " HTTP/1.1\r\nHost: x\r\n%s%sContent-Length: %zu\r\n\r\n", type, more,
             len);
    web_say(fd, header);
}

/* JSON takes as much space as one likes. */
static void say_spaces(int fd, size_t len)
{
    char spaces[BODY_MAX + 1];
    snprintf(spaces, sizeof(spaces), "%*s", (int)len, "");
    web_say(fd, spaces);
}

/* A client with so many bytes of a JSON body on its way, which is two longer. */
static int hold(struct fixture *f, size_t len)
{
    size_t held = http_budget_held(f->budget);
    int fd = web_dial(&f->web);
    say_header(fd, JSON, "", len + 2);
    say_spaces(fd, len);
    turn_until_held(f, held + len);
    return fd;
}

static void reply(struct fixture *f)
{
    struct connect_call *call = f->call;
    assert_non_null(call);
    f->call = NULL;
    connect_reply(call, "", 0);
}

static void assert_refused(struct fixture *f, int fd)
{
    web_until(&f->web, fd, "NO_ROOM");
    assert_memory_equal(f->web.got, "HTTP/1.1 429 ", 13);
    assert_true(web_heard(&f->web, "\r\nRetry-After: 1\r\n"));
    assert_true(web_heard(&f->web, "{\"code\":\"resource_exhausted\""));
}

static atomic_size_t taken_by_all;

static void *take_and_give(void *arg)
{
    struct http_budget *b = arg;
    bool good = true;

    for (size_t i = 0; i < 100000; i++) {
        size_t n = i * 7919 % 500;
        if (!http_budget_take(b, n))
            continue;
        good = good && atomic_fetch_add(&taken_by_all, n) + n <= TOTAL;
        atomic_fetch_sub(&taken_by_all, n);
        http_budget_give(b, n);
    }
    return good ? b : NULL;
}

static void a_budget_gives_no_more_than_it_has_to_many_threads(void **state)
{
    struct fixture *f = *state;
    pthread_t threads[THREADS];

    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_and_give, f->budget), 0);
    for (int i = 0; i < THREADS; i++) {
        void *good;
        assert_int_equal(pthread_join(threads[i], &good), 0);
        assert_non_null(good);
    }
    assert_int_equal(http_budget_held(f->budget), 0);
    assert_true(http_budget_take(f->budget, TOTAL));
    assert_false(http_budget_take(f->budget, 1));
    assert_false(http_budget_fits(f->budget, UINT64_MAX));
    http_budget_give(f->budget, TOTAL);
    assert_true(http_budget_take(NULL, SIZE_MAX)); /* no budget, no end */
}

static void who_finds_no_room_is_refused_and_others_go_on(void **state)
{
    struct fixture *f = *state;
    int one = hold(f, 800), two = hold(f, 100);

    int fd = web_dial(&f->web);
    web_say(fd, "POST " LIST " HTTP/1.1\r\nHost: x\r\n" JSON "Transfer-Encoding: chunked\r\n\r\n");
    web_say(fd, "64\r\n");
    say_spaces(fd, 100);
    turn_until_held(f, TOTAL);
    web_say(fd, "\r\n2\r\n{}\r\n0\r\n\r\n");
    assert_refused(f, fd);
    assert_int_equal(http_budget_held(f->budget), 900);
    assert_int_equal(f->calls, 0);

    f->at_once = true;
    f->web.len = 0;
    web_say(two, "{}");
    web_until(&f->web, two, "\r\n\r\n{}");
    turn_until_held(f, 800);
    f->web.len = 0; /* the connection is as good as before */
    say_header(fd, JSON, "", 2);
    web_say(fd, "{}");
    web_until(&f->web, fd, "HTTP/1.1 200 ");
    close(one);
    turn_until_held(f, 0);
    close(two);
    close(fd);
}

static void what_cannot_fit_is_refused_by_its_header(void **state)
{
    struct fixture *f = *state;
    int one = hold(f, 800), fd = web_dial(&f->web);

    say_header(fd, JSON, "Expect: 100-continue\r\n", 300);
    assert_refused(f, fd);
    close(fd);

    fd = web_dial(&f->web);
    say_header(fd, JSON, "", 300);
    say_spaces(fd, 299);
    for (int i = 0; i < 5; i++) {
        turn(f);
        assert_int_equal(http_budget_held(f->budget), 800);
    }
    web_say(fd, " ");
    assert_refused(f, fd);
    close(fd);
    close(one);
}

/* What costs nothing to send locks nobody out. */
static void what_is_announced_and_has_not_come_takes_nothing(void **state)
{
    struct fixture *f = *state;
    int announcing[8];

    for (size_t i = 0; i < ARRAY_LEN(announcing); i++) {
        announcing[i] = web_dial(&f->web);
        say_header(announcing[i], JSON, "Expect: 100-continue\r\n", BODY_MAX);
        web_until(&f->web, announcing[i], "100 Continue");
    }
    assert_int_equal(http_budget_held(f->budget), 0);
    int one = hold(f, BODY_MAX - 2);
    f->at_once = true;
    web_say(one, "{}");
    web_until(&f->web, one, "HTTP/1.1 200 ");
    for (size_t i = 0; i < ARRAY_LEN(announcing); i++)
        close(announcing[i]);
    close(one);
}

/* Its own answer may take as long as it likes. */
static void an_answer_gives_back_before_it_is_taken(void **state)
{
    struct fixture *f = *state;
    void *data = calloc(1, LARGE);
    int fd = web_dial(&f->web);

    assert_non_null(data);
    say_header(fd, PROTO, "", 5);
    web_say_bytes(fd, "\xf2\x3f\x02xx", 5); /* a field that nobody knows */
    turn_until_called(f, 1);
    assert_int_equal(http_budget_held(f->budget), 5);
    connect_reply(f->call, data, LARGE);
    f->call = NULL;
    free(data);
    assert_int_equal(http_budget_held(f->budget), 0);
    turn(f);
    assert_int_equal(http_loop_exchanges(f->loop), 1);
    close(fd);
}

static void every_other_end_gives_back(void **state)
{
    struct fixture *f = *state;

    int fd = hold(f, 700); /* gone in the middle of it */
    close(fd);
    turn_until_held(f, 0);

    fd = hold(f, BODY_MAX - 1); /* too large: at once, not at its end */
    web_say(fd, "  ");
    turn_until_held(f, 0);
    close(fd);

    fd = hold(f, 700); /* no message */
    web_say(fd, "[]");
    web_until(&f->web, fd, "invalid_argument");
    assert_int_equal(http_budget_held(f->budget), 0);
    close(fd);

    for (int end = 0; end < 3; end++) { /* gone, cut, out of time, with a message that is kept */
        turn_until_over(f);
        fd = web_dial(&f->web);
        say_header(fd, PROTO, end == 2 ? "Connect-Timeout-Ms: 30\r\n" : "", 5);
        web_say_bytes(fd, "\xf2\x3f\x02xx", 5);
        turn_until_called(f, end + 1);
        assert_int_equal(http_budget_held(f->budget), 5);
        if (end == 0)
            close(fd);
        if (end == 1)
            http_cut(connect_exchange(f->call));
        turn_until_held(f, 0);
        if (end)
            close(fd);
    }
    fd = hold(f, 700); /* the loop ends */
    http_loop_free(f->loop);
    f->loop = NULL;
    assert_int_equal(http_budget_held(f->budget), 0);
    close(fd);
}

static void a_body_that_takes_too_long_gives_back(void **state)
{
    struct fixture *f = *state;
    int fd = hold(f, 700);

    turn_until_held(f, 0); /* 300 ms */
    close(fd);
}

/* Bytes that are with somebody else count until the answer; of a stream, until its end. */
static void what_was_copied_counts_until_the_end(void **state)
{
    struct fixture *f = *state;
    size_t len;
    int fd = web_dial(&f->web);

    f->copies = true;
    say_header(fd, PROTO, "", 5);
    web_say_bytes(fd, "\xf2\x3f\x02xx", 5);
    turn_until_called(f, 1);
    assert_int_equal(http_budget_held(f->budget), 5);
    (void)connect_message(f->call, &len);
    assert_int_equal(len, 0);
    reply(f);
    assert_int_equal(http_budget_held(f->budget), 0);
    close(fd);

    fd = web_dial(&f->web);
    web_say(fd, "POST " STREAM " HTTP/1.1\r\nHost: x\r\nContent-Type: application/connect+proto\r\n"
                "Content-Length: 5\r\n\r\n");
    web_say_bytes(fd, "\0\0\0\0\0", 5);
    turn_until_called(f, 2);
    connect_begin(f->call);
    turn(f);
    assert_int_equal(http_budget_held(f->budget), 5);
    connect_end(f->call);
    turn_until_held(f, 0);
    close(fd);
}

static void what_is_unzipped_counts(void **state)
{
    struct fixture *f = *state;
    CLEANUP(arena_freep) struct arena *a = arena_new(4 * MIB);
    uint8_t plain[504] = "\xf2\x3f\xf4\x03", *zipped; /* an unknown field of 500 bytes */
    size_t len;

    assert_int_equal(gzip_deflate(a, plain, sizeof(plain), &zipped, &len), 0);
    assert_true(len < 100);
    int fd = web_dial(&f->web);
    say_header(fd, PROTO, "Content-Encoding: gzip\r\n", len);
    web_say_bytes(fd, zipped, len);
    turn_until_called(f, 1);
    assert_int_equal(http_budget_held(f->budget), sizeof(plain));
    const uint8_t *message = connect_message(f->call, &len);
    assert_int_equal(len, sizeof(plain));
    assert_memory_equal(message, plain, len);
    reply(f);
    assert_int_equal(http_budget_held(f->budget), 0);
    close(fd);

    int one = hold(f, 700);
    assert_int_equal(gzip_deflate(a, plain, sizeof(plain), &zipped, &len), 0);
    fd = web_dial(&f->web);
    say_header(fd, PROTO, "Content-Encoding: gzip\r\n", len);
    web_say_bytes(fd, zipped, len);
    assert_refused(f, fd);
    assert_int_equal(http_budget_held(f->budget), 700);
    assert_int_equal(f->calls, 1);
    close(fd);
    close(one);
}

/* --- two loops -------------------------------------------------------------------------------- */

struct worker {
    pthread_t thread;
    struct fixture f;
    int served, refused, odd;
};

/* A client of the loop, in its thread: two halves of a body that fits once and not twice. */
static void ask_once(struct worker *w, char *body)
{
    struct web *web = &w->f.web;
    int64_t until_us = clock_monotonic_us() + WAIT_US;
    struct sockaddr_in to = { .sin_family = AF_INET,
                              .sin_port = htons(http_loop_port(w->f.loop)),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    web->len = 0;
    bool ok = fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 &&
              fcntl(fd, F_SETFL, O_NONBLOCK) == 0;
    int n = snprintf(web->got, WEB_TEXT_MAX,
                     "POST " LIST " HTTP/1.1\r\nHost: x\r\n" JSON "Content-Length: 600\r\n\r\n");
    ok = ok && web_send(fd, web->got, (size_t)n) == n && web_send(fd, body, 300) == 300;
    for (int i = 0; i < 3; i++)
        turn(&w->f);
    ok = ok && web_send(fd, body + 300, 300) == 300;
    web->got[0] = '\0';
    while (ok && !web_heard(web, "}") && clock_monotonic_us() < until_us && web_hear(web, fd))
        turn(&w->f);
    w->served += web_heard(web, "HTTP/1.1 200 ");
    w->refused += web_heard(web, "HTTP/1.1 429 ") && web_heard(web, "Retry-After: 1");
    w->odd += !web_heard(web, "HTTP/1.1 200 ") && !web_heard(web, "HTTP/1.1 429 ");
    if (fd >= 0)
        close(fd);
}

static void *run_worker(void *arg)
{
    struct worker *w = arg;
    char body[601];

    snprintf(body, sizeof(body), "{%598s}", "");
    for (int i = 0; i < ROUNDS; i++)
        ask_once(w, body);
    return NULL;
}

static void loops_share_a_budget(void **state)
{
    struct fixture *f = *state;
    static struct worker workers[2];
    int served = 0;

    for (size_t i = 0; i < ARRAY_LEN(workers); i++) {
        assert_true(open_fixture(&workers[i].f, f->budget, 600 * SECOND_US));
        workers[i].f.at_once = true;
    }
    for (size_t i = 0; i < ARRAY_LEN(workers); i++)
        assert_int_equal(pthread_create(&workers[i].thread, NULL, run_worker, &workers[i]), 0);
    for (size_t i = 0; i < ARRAY_LEN(workers); i++) {
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
        http_loop_free(workers[i].f.loop);
        connect_free(workers[i].f.connect);
        assert_int_equal(workers[i].odd, 0);
        assert_int_equal(workers[i].served + workers[i].refused, ROUNDS);
        served += workers[i].served;
    }
    assert_true(served > 0);
    assert_int_equal(http_budget_held(f->budget), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(a_budget_gives_no_more_than_it_has_to_many_threads),
        T(who_finds_no_room_is_refused_and_others_go_on),
        T(what_cannot_fit_is_refused_by_its_header),
        T(what_is_announced_and_has_not_come_takes_nothing),
        T(an_answer_gives_back_before_it_is_taken),
        T(every_other_end_gives_back),
        cmocka_unit_test_setup_teardown(a_body_that_takes_too_long_gives_back, set_up_impatient,
                                        tear_down),
        T(what_was_copied_counts_until_the_end),
        T(what_is_unzipped_counts),
        T(loops_share_a_budget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
