/* Clients that cost more than they bring: slow, silent, without an end, or gone in the middle (F50). What is
 * to be read in two ways is gateway_head_test.c's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <netinet/tcp.h>

#include "tests/unit/gateway_calls.h"

#define PLACES 4

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

static int set_up_narrow(void **state)
{
    return set_up_with(state, 600 * SECOND_US, 600 * SECOND_US, PLACES);
}

/* Never idle. */
static void drip_until_ended(struct fixture *f, int fd, const char *text)
{
    int64_t until_us = clock_monotonic_us() + WAIT_US, said_us = 0;
    ssize_t len = (ssize_t)strlen(text);
    bool open = true;

    while (open && clock_monotonic_us() < until_us) {
        turn(f);
        open = web_hear(&f->web, fd);
        if (open && clock_monotonic_us() > said_us + 50 * MSEC_US) {
            said_us = clock_monotonic_us();
            open = web_send(fd, text, (size_t)len) == len;
        }
    }
    assert_false(open);
}

static void a_header_that_never_ends_costs_the_connection_F50(void **state)
{
    struct fixture *f = *state;
    int fd = web_dial(&f->web);

    web_say(fd, "POST " LIST " HTTP/1.1\r\nHost: x\r\n");
    drip_until_ended(f, fd, "X: y\r\n");
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

    web_say(fd, "POST " LIST " HTTP/1.1\r\nHost: x\r\n" JSON "Content-Length: 900\r\n\r\n");
    drip_until_ended(f, fd, " ");
    assert_int_equal(f->calls, 0);
    close(fd);
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
        turn_until_ended(f, fd);
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
        turn_until_ended(f, fd);
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
    turn_until_ended(f, fd);
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
    turn_until_ended(f, fd);
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
    turn_until_ended(f, fd);
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

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(a_header_that_never_ends_costs_the_connection_F50),
        cmocka_unit_test_setup_teardown(connections_that_ask_nothing_make_room_F50, set_up_narrow,
                                        tear_down),
        cmocka_unit_test_setup_teardown(an_upload_stays_where_idle_ones_make_room_F50,
                                        set_up_narrow, tear_down),
        cmocka_unit_test_setup_teardown(newcomers_do_not_displace_each_other_F50, set_up_narrow,
                                        tear_down),
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
