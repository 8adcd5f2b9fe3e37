/* Bodies that are handed on as they come: back pressure, breaks, and what it does to the connection. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>

#include "common/sbuf.h"
#include "tests/unit/gateway_client.h"

struct fixture {
    struct web web;
    struct http_loop *loop;
    struct http_exchange *x;
    size_t bytes, pieces, gone, handled;
    bool holds; /* each piece is enough for now */
    bool held;
    bool refuses; /* in the middle */
};

static void on_begin(void *arg, struct http_exchange *x)
{
    ((struct fixture *)arg)->x = x;
    http_take_pieces(x);
}

static bool on_piece(void *arg, struct http_exchange *x, const void *data, size_t len)
{
    struct fixture *f = arg;

    assert_true(len > 0);
    assert_int_equal(*(const char *)data, 'x');
    f->pieces++;
    f->bytes += len;
    if (f->refuses) {
        http_answer(x, 413, NULL, 0);
        return true;
    }
    f->held = f->holds;
    return !f->holds;
}

static void on_request(void *arg, struct http_exchange *x)
{
    ((struct fixture *)arg)->handled++;
    http_answer(x, 202, "ok", 2);
}

static void on_gone(void *arg, struct http_exchange *x UNUSED)
{
    ((struct fixture *)arg)->gone++;
}

static void turn(void *arg)
{
    struct fixture *f = arg;
    struct pollfd p = { .fd = http_loop_fd(f->loop), .events = POLLIN };
    int64_t wait_us = MIN(10 * MSEC_US, http_loop_wait_us(f->loop));

    (void)poll(&p, 1, (int)(wait_us / MSEC_US));
    http_loop_run(f->loop);
}

static int set_up(void **state)
{
    static struct fixture f;
    struct http_limits limits = http_limits_default;

    memset(&f, 0, sizeof(f));
    limits.body_max = 1000; /* does not hold for pieces */
    limits.idle_us = SECOND_US;
    f.loop = http_loop_new("127.0.0.1:0", &limits,
                           &(struct http_handler){ .begin = on_begin,
                                                   .handle = on_request,
                                                   .piece = on_piece,
                                                   .gone = on_gone,
                                                   .arg = &f });
    f.web = (struct web){ .loop = f.loop, .turn = turn, .arg = &f };
    *state = &f;
    return f.loop ? 0 : -1;
}

static int tear_down(void **state)
{
    http_loop_free(((struct fixture *)*state)->loop);
    return 0;
}

/* Many small chunks in one packet. */
static void say_chunks(int fd, int n, bool end)
{
    struct sbuf text;

    sbuf_init(&text, 4 * KIB);
    for (int i = 0; i < n; i++)
        sbuf_add_text(&text, "5\r\nxxxxx\r\n");
    if (end)
        sbuf_add_text(&text, "0\r\n\r\n");
    web_say(fd, text.data);
    sbuf_fini(&text);
}

static void go_on(struct fixture *f)
{
    f->held = false;
    http_more_pieces(f->x);
}

static void turn_until_held(struct fixture *f)
{
    int64_t until_us = clock_monotonic_us() + WAIT_US;

    while (!f->held && clock_monotonic_us() < until_us)
        turn(f);
    assert_true(f->held);
}

static void a_body_of_any_length_comes_in_pieces(void **state)
{
    struct fixture *f = *state;
    int fd = web_dial(&f->web);

    web_say(fd, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n");
    for (int i = 0; i < 50; i++) {
        char block[101];
        memset(block, 'x', 100);
        block[100] = '\0';
        web_say(fd, block);
        turn(f);
    }
    web_until(&f->web, fd, "202");
    assert_int_equal(f->bytes, 5000);
    assert_int_equal(f->handled, 1);
    assert_int_equal(f->gone, 0);
    close(fd);
}

/* The library hands out chunk after chunk of what it has read, also of a connection that the first of
 * them has suspended; suspended twice, its lists broke, and the process with them once the connection
 * had been idle for its time. */
static void chunks_of_one_packet_are_held_once(void **state)
{
    struct fixture *f = *state;
    int fd = web_dial(&f->web), other = web_dial(&f->web);
    int64_t until_us = clock_monotonic_us() + WAIT_US;

    f->holds = true;
    web_say(fd, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 3; i++) {
        say_chunks(fd, 100, i == 2);
        turn_until_held(f);
        go_on(f);
    }
    while (f->handled == 0 && clock_monotonic_us() < until_us) {
        turn(f);
        if (f->held)
            go_on(f);
    }
    web_until(&f->web, fd, "202");
    assert_int_equal(f->bytes, 1500);
    while (web_hear(&f->web, fd) && clock_monotonic_us() < until_us)
        turn(f); /* until it is idle for too long */
    assert_false(web_hear(&f->web, fd));
    close(fd);
    close(other);
}

static void a_client_that_goes_while_it_is_held_is_told_of(void **state)
{
    struct fixture *f = *state;
    int fd = web_dial(&f->web);
    int64_t until_us = clock_monotonic_us() + WAIT_US;

    f->holds = true;
    web_say(fd, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\nxxxxx");
    turn_until_held(f);
    close(fd);
    while (!f->gone && clock_monotonic_us() < until_us)
        turn(f);
    assert_int_equal(f->gone, 1);
    assert_int_equal(f->handled, 0);
}

static void an_answer_in_the_middle_goes_out_at_the_end(void **state)
{
    struct fixture *f = *state;
    int fd = web_dial(&f->web);

    f->refuses = true;
    web_say(fd, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nxxxxx");
    for (int i = 0; i < 5; i++)
        turn(f);
    web_say(fd, "xxxxx");
    web_until(&f->web, fd, "413");
    assert_int_equal(f->bytes, 5);
    assert_int_equal(f->handled, 0);
    close(fd);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(a_body_of_any_length_comes_in_pieces),
        T(chunks_of_one_packet_are_held_once),
        T(a_client_that_goes_while_it_is_held_is_told_of),
        T(an_answer_in_the_middle_goes_out_at_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
