/* HTTP exchanges and Connect calls, by a client that writes bytes: what may go wrong between the two
 * (protocols B, F63). The wire format itself is checked by the official conformance suite. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/gateway_calls.h"

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
        T(limits_have_their_answers_F63),
        T(a_stranger_is_refused_by_his_header),
        T(one_who_asks_before_he_sends_is_told_at_once),
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
