/* HTTP exchanges and Connect calls, by a client that writes bytes: what may go wrong between the two
 * (protocols B, F50, F63). The wire format itself is checked by the official conformance suite. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "services/gateway/connect.h"
#include "services/gateway/http.h"
#include "tests/support/slack.h"

#define LIST "/daybook.customers.v1.CustomerService/List"
#define STREAM "/daybook.bus.v1.EventService/StreamEvents"
#define JSON "Content-Type: application/json\r\n"
#define TEXT_MAX (512 * KIB)
#define WAIT_US slack(10 * SECOND_US)

struct fixture {
    struct http_loop *loop;
    struct connect *connect;
    struct connect_call *call; /* the last one, not answered yet */
    int calls, gone, drained;
    char got[TEXT_MAX + 1];
    size_t len;
};

static void on_request(void *arg, struct http_exchange *x)
{
    connect_handle(((struct fixture *)arg)->connect, x);
}

static void on_gone(void *arg, struct http_exchange *x)
{
    connect_gone(((struct fixture *)arg)->connect, x);
}

static void on_drained(void *arg, struct http_exchange *x)
{
    connect_drained(((struct fixture *)arg)->connect, x);
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

static int set_up(void **state)
{
    static struct fixture f;
    struct http_limits limits = http_limits_default;

    schema_init();
    memset(&f, 0, sizeof(f));
    limits.body_max = 1000;
    limits.url_max = 500;
    limits.headers_max = 20;
    limits.header_us = 300 * MSEC_US;
    f.connect =
        connect_new(&(struct connect_config){ .message_max = 1000,
                                              .cors_origin = "https://a.example, https://b.example",
                                              .on_call = on_call,
                                              .on_gone = on_call_gone,
                                              .on_drained = on_call_drained,
                                              .arg = &f });
    f.loop = http_loop_new(
        "127.0.0.1:0", &limits,
        &(struct http_handler){
            .handle = on_request, .gone = on_gone, .drained = on_drained, .arg = &f });
    *state = &f;
    return f.connect && f.loop ? 0 : -1;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    http_loop_free(f->loop);
    connect_free(f->connect);
    return 0;
}

/* --- the client ------------------------------------------------------------------------------- */

static int dial(struct fixture *f)
{
    struct sockaddr_in to = { .sin_family = AF_INET,
                              .sin_port = htons(http_loop_port(f->loop)),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    f->len = 0;
    f->got[0] = '\0';
    return fd;
}

static void say(int fd, const char *text)
{
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

/* One wait of the loop, exactly as long as it asks for, up to 20 ms. */
static void turn(struct fixture *f)
{
    struct pollfd p = { .fd = http_loop_fd(f->loop), .events = POLLIN };
    int64_t wait_us = MIN(20 * MSEC_US, http_loop_wait_us(f->loop));
    (void)poll(&p, 1, (int)(wait_us / MSEC_US));
    http_loop_run(f->loop);
    connect_tick(f->connect, clock_monotonic_us());
}

/* Reads what there is. False: the other side has ended. */
static bool hear(struct fixture *f, int fd)
{
    ssize_t n = read(fd, f->got + f->len, TEXT_MAX - f->len);
    if (n > 0)
        f->len += (size_t)n;
    f->got[f->len] = '\0';
    return n > 0 || (n < 0 && errno == EAGAIN);
}

/* Until that text was heard, or with NULL the end. */
static void hear_until(struct fixture *f, int fd, const char *text)
{
    int64_t until_us = clock_monotonic_us() + WAIT_US;
    for (;;) {
        bool open = hear(f, fd);
        if (text ? memmem(f->got, f->len, text, strlen(text)) != NULL : !open)
            return;
        if (!open || clock_monotonic_us() > until_us)
            fail_msg("wanted %s, heard: %s", text ? text : "the end", f->got);
        turn(f);
    }
}

static void turn_until_called(struct fixture *f, int calls)
{
    int64_t until_us = clock_monotonic_us() + WAIT_US;
    while (f->calls < calls && clock_monotonic_us() < until_us)
        turn(f);
    assert_int_equal(f->calls, calls);
}

static void reply(struct fixture *f)
{
    struct connect_call *call = f->call;
    assert_non_null(call);
    f->call = NULL;
    connect_reply(call, "", 0);
}

/* --- tests ------------------------------------------------------------------------------------ */

static void an_answer_that_is_given_later_goes_out_at_once(void **state)
{
    struct fixture *f = *state;
    int fd = dial(f);
    say(fd, "POST " LIST " HTTP/1.1\r\nHost: x\r\n" JSON "Content-Length: 2\r\n\r\n{}");
    turn_until_called(f, 1);
    for (int i = 0; i < 3; i++)
        turn(f);
    assert_true(hear(f, fd));
    assert_int_equal(f->len, 0);
    reply(f);
    assert_int_equal(http_loop_wait_us(f->loop), 0); /* nothing else would wake the loop */
    turn(f);
    hear_until(f, fd, "\r\n\r\n{}");
    assert_non_null(strstr(f->got, "HTTP/1.1 200 "));
    close(fd);
}

static void a_connection_serves_one_call_after_the_other(void **state)
{
    struct fixture *f = *state;
    int fd = dial(f);
    for (int i = 1; i <= 3; i++) {
        f->len = 0;
        say(fd, "POST " LIST " HTTP/1.1\r\nHost: x\r\n" JSON
                "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n");
        turn_until_called(f, i);
        reply(f);
        hear_until(f, fd, "\r\n\r\n{}");
    }
    close(fd);
}

static void a_client_that_goes_is_told_of_once(void **state)
{
    struct fixture *f = *state;
    int fd = dial(f);
    say(fd, "POST " LIST " HTTP/1.1\r\nHost: x\r\n" JSON "Content-Length: 2\r\n\r\n{}");
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
    int fd = dial(f);
    say(fd, "POST " LIST " HTTP/1.1\r\nHost: x\r\n" JSON
            "Connect-Timeout-Ms: 30\r\nContent-Length: 2\r\n\r\n{}");
    turn_until_called(f, 1);
    hear_until(f, fd, "deadline_exceeded");
    assert_non_null(strstr(f->got, "HTTP/1.1 504 "));
    assert_int_equal(f->gone, 1);
    close(fd);
}

static void a_header_that_never_ends_costs_the_connection_F50(void **state)
{
    struct fixture *f = *state;
    int fd = dial(f);
    int64_t began_us = clock_monotonic_us(), said_us = 0;
    say(fd, "POST " LIST " HTTP/1.1\r\nHost: x\r\n");
    bool open = true;
    while (open && clock_monotonic_us() < began_us + WAIT_US) {
        turn(f);
        open = hear(f, fd);
        if (open && clock_monotonic_us() > said_us + 50 * MSEC_US) {
            said_us = clock_monotonic_us();
            open = send(fd, "X: y\r\n", 6, MSG_NOSIGNAL) == 6; /* never idle */
        }
    }
    assert_false(open);
    assert_int_equal(f->calls, 0);
    close(fd);
}

static void limits_have_their_answers_F63(void **state)
{
    struct fixture *f = *state;
    char request[8192];
    static const char xs[] =
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
    int fd = dial(f);
    int n = snprintf(request, sizeof(request), "GET " LIST "?");
    for (int i = 0; i < 8; i++)
        n += snprintf(request + n, sizeof(request) - (size_t)n, "%s", xs);
    snprintf(request + n, sizeof(request) - (size_t)n, " HTTP/1.1\r\nHost: x\r\n\r\n");
    say(fd, request);
    hear_until(f, fd, "HTTP/1.1 414 ");
    close(fd);

    fd = dial(f);
    n = snprintf(request, sizeof(request), "POST " LIST " HTTP/1.1\r\nHost: x\r\n");
    for (int i = 0; i < 30; i++)
        n += snprintf(request + n, sizeof(request) - (size_t)n, "X-%d: y\r\n", i);
    snprintf(request + n, sizeof(request) - (size_t)n, "Content-Length: 0\r\n\r\n");
    say(fd, request);
    hear_until(f, fd, "HTTP/1.1 431 ");
    close(fd);

    fd = dial(f);
    n = snprintf(request, sizeof(request),
                 "POST " LIST " HTTP/1.1\r\nHost: x\r\n" JSON "Content-Length: 1100\r\n\r\n");
    memset(request + n, ' ', 1100);
    request[n + 1100] = '\0';
    say(fd, request);
    hear_until(f, fd, "resource_exhausted");
    assert_non_null(strstr(f->got, "HTTP/1.1 429 "));
    close(fd);
    assert_int_equal(f->calls, 0);
}

static void a_body_with_two_ends_is_refused_F50(void **state)
{
    struct fixture *f = *state;
    static const char *const forms[] = {
        "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Content-Length: 2\r\nContent-Length: 3\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        char request[256];
        int fd = dial(f);
        snprintf(request, sizeof(request), "POST " LIST " HTTP/1.1\r\nHost: x\r\n" JSON "%s\r\n{}",
                 forms[i]);
        say(fd, request);
        hear_until(f, fd, "HTTP/1.1 400 ");
        close(fd);
    }
    assert_int_equal(f->calls, 0);
}

static void an_envelope_that_is_cut_short_is_wrong(void **state)
{
    struct fixture *f = *state;
    for (size_t len = 1; len <= 5; len++) {
        char request[256];
        int fd = dial(f);
        snprintf(request, sizeof(request),
                 "POST " STREAM
                 " HTTP/1.1\r\nHost: x\r\nContent-Type: application/connect+proto\r\n"
                 "Content-Length: %zu\r\n\r\n",
                 len);
        say(fd, request);
        assert_int_equal(write(fd, "\0\0\0\0\1", len), len);
        hear_until(f, fd, "invalid_argument");
        close(fd);
    }
    assert_int_equal(f->calls, 0);
}

static void browsers_of_listed_origins_may_call(void **state)
{
    struct fixture *f = *state;
    int fd = dial(f);
    say(fd, "OPTIONS " LIST " HTTP/1.1\r\nHost: x\r\nOrigin: https://b.example\r\n"
            "Access-Control-Request-Method: POST\r\n\r\n");
    hear_until(f, fd, "\r\n\r\n");
    assert_non_null(strstr(f->got, "HTTP/1.1 204 "));
    assert_non_null(strstr(f->got, "Access-Control-Allow-Origin: https://b.example\r\n"));
    assert_non_null(strstr(f->got, "Access-Control-Max-Age: 7200\r\n"));
    close(fd);
    fd = dial(f);
    say(fd, "OPTIONS " LIST " HTTP/1.1\r\nHost: x\r\nOrigin: https://evil.example\r\n"
            "Access-Control-Request-Method: POST\r\n\r\n");
    hear_until(f, fd, "\r\n\r\n");
    assert_null(strstr(f->got, "Access-Control-Allow-Origin"));
    close(fd);
    fd = dial(f);
    say(fd, "POST " LIST " HTTP/1.1\r\nHost: x\r\nOrigin: https://a.example\r\n" JSON
            "Content-Length: 1\r\n\r\n[");
    hear_until(f, fd, "invalid_argument");
    assert_non_null(strstr(f->got, "Access-Control-Allow-Origin: https://a.example\r\n"));
    assert_non_null(strstr(f->got, "Access-Control-Expose-Headers: "));
    close(fd);
}

static void a_stream_says_when_its_client_is_behind_and_when_it_has_caught_up_F33(void **state)
{
    struct fixture *f = *state;
    static char block[64 * KIB];
    int fd = dial(f), n = 0;
    memset(block, 'x', sizeof(block));
    say(fd, "POST " STREAM " HTTP/1.1\r\nHost: x\r\nContent-Type: application/connect+proto\r\n"
            "Content-Length: 5\r\n\r\n");
    assert_int_equal(write(fd, "\0\0\0\0\0", 5), 5);
    turn_until_called(f, 1);
    connect_begin(f->call);
    while (connect_send_encoded(f->call, block, sizeof(block))) {
        assert_true(++n < 1000);
        turn(f);
    }
    assert_int_equal(f->drained, 0);
    int64_t until_us = clock_monotonic_us() + WAIT_US;
    while (f->drained == 0 && clock_monotonic_us() < until_us) {
        f->len = 0; /* read and forgotten */
        (void)hear(f, fd);
        turn(f);
    }
    assert_true(f->drained > 0);
    connect_end(f->call);
    f->len = 0;
    while (hear(f, fd) && !(f->len >= 5 && memcmp(f->got + f->len - 5, "0\r\n\r\n", 5) == 0)) {
        assert_true(clock_monotonic_us() < until_us);
        if (f->len > TEXT_MAX / 2)
            f->len = 0;
        turn(f);
    }
    close(fd);
}

static void what_waits_when_the_loop_ends_is_told_of(void **state)
{
    struct fixture *f = *state;
    int fd = dial(f);
    say(fd, "POST " LIST " HTTP/1.1\r\nHost: x\r\n" JSON "Content-Length: 2\r\n\r\n{}");
    turn_until_called(f, 1);
    http_loop_free(f->loop);
    f->loop = NULL;
    assert_int_equal(f->gone, 1);
    close(fd);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(an_answer_that_is_given_later_goes_out_at_once),
        T(a_connection_serves_one_call_after_the_other),
        T(a_client_that_goes_is_told_of_once),
        T(time_that_is_up_is_answered_without_the_handler),
        T(a_header_that_never_ends_costs_the_connection_F50),
        T(limits_have_their_answers_F63),
        T(a_body_with_two_ends_is_refused_F50),
        T(an_envelope_that_is_cut_short_is_wrong),
        T(browsers_of_listed_origins_may_call),
        T(a_stream_says_when_its_client_is_behind_and_when_it_has_caught_up_F33),
        T(what_waits_when_the_loop_ends_is_told_of),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
