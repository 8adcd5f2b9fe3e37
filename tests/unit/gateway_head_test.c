/* Heads of which two readers might make two requests: each is refused with what is wrong with it, and the
 * connection ends, so that what follows is nobody's (F50; RFC 9112, 11.2). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>

#include "tests/unit/gateway_client.h"

#define HOST "Host: x\r\n"
#define LENGTH "Content-Length: 2\r\n"
#define CHUNKED "Transfer-Encoding: chunked\r\n"
#define FIRST "POST /first HTTP/1.1\r\n"
#define SECOND "GET /second HTTP/1.1\r\n" HOST "\r\n"
/* Parts of what is said to be wrong. */
#define REQUEST_LINE "the first line must be"
#define LINES "each line of the header must be"
#define TWICE "once only"
#define CODING "Transfer-Encoding must be"

struct fixture {
    struct web web;
    struct http_loop *loop;
    int requests, seconds;
    char value[64]; /* of X-A in the last one */
    size_t body;
};

static void on_request(void *arg, struct http_exchange *x)
{
    struct fixture *f = arg;
    const char *value = http_header(x, "X-A");

    f->requests++;
    f->seconds += strcmp(http_path(x), "/second") == 0;
    snprintf(f->value, sizeof f->value, "%s", value ? value : "");
    (void)http_body(x, &f->body);
    http_answer(x, 200, NULL, 0);
}

static void turn(void *arg)
{
    struct fixture *f = arg;
    struct pollfd p = { .fd = http_loop_fd(f->loop), .events = POLLIN };

    (void)poll(&p, 1, 20);
    http_loop_run(f->loop);
}

static int set_up(void **state)
{
    static struct fixture f;

    f = (struct fixture){ 0 };
    f.loop = http_loop_new("127.0.0.1:0", &http_limits_default,
                           &(struct http_handler){ .handle = on_request, .arg = &f });
    f.web = (struct web){ .loop = f.loop, .turn = turn, .arg = &f };
    *state = &f;
    return f.loop ? 0 : -1;
}

static int tear_down(void **state)
{
    http_loop_free(((struct fixture *)*state)->loop);
    return 0;
}

static void until_over(struct fixture *f, int fd)
{
    int64_t until_us = clock_monotonic_us() + WAIT_US;

    while (web_hear(&f->web, fd)) {
        assert_true(clock_monotonic_us() < until_us);
        turn(f);
    }
}

static void is_refused(struct fixture *f, const char *request, size_t len, const char *why)
{
    int fd = web_dial(&f->web);

    web_say_bytes(fd, request, len);
    web_say(fd, "\r\n{}" SECOND);
    web_until(&f->web, fd, "HTTP/1.1 400 ");
    web_until(&f->web, fd, "{\"code\":\"invalid_argument\"");
    web_until(&f->web, fd, why);
    until_over(f, fd);
    assert_int_equal(f->requests, 0);
    close(fd);
}

#define REFUSED(text, why) is_refused(f, "" text "", sizeof(text) - 1, why)

static void lines_that_are_none_are_refused_F50(void **state)
{
    struct fixture *f = *state;

    REFUSED(FIRST HOST LENGTH "X-A: b\r\n Transfer-Encoding: chunked\r\n", LINES);
    REFUSED(FIRST HOST LENGTH "Transfer-Encoding:\r\n chunked\r\n", LINES);
    REFUSED(FIRST HOST "Transfer-Encoding:\r\n\tchunked\r\n" LENGTH, LINES);
    REFUSED(FIRST " X: y\r\n" HOST LENGTH, LINES);
    REFUSED(FIRST HOST "Transfer-Encoding : chunked\r\n" LENGTH, LINES);
    REFUSED(FIRST HOST "Transfer-Encoding\t: chunked\r\n" LENGTH, LINES);
    REFUSED(FIRST HOST "Content-Length : 2\r\n", LINES);
    REFUSED(FIRST HOST ": b\r\n" LENGTH, LINES);
    REFUSED(FIRST HOST "(X): b\r\n" LENGTH, LINES);
}

static void control_characters_are_refused(void **state)
{
    struct fixture *f = *state;

    REFUSED(FIRST HOST "X-A: b\0c\r\n" LENGTH, LINES);
    REFUSED(FIRST HOST LENGTH "X-A: b\0\r\n", LINES);
    REFUSED(FIRST HOST LENGTH "X-A: b\0Transfer-Encoding: chunked\r\n", LINES);
    REFUSED(FIRST HOST LENGTH "X-A: b\rTransfer-Encoding: chunked\r\n", LINES);
    REFUSED(FIRST HOST LENGTH "X-A: \x0b"
                              "b\r\n",
            LINES);
}

static void lines_that_end_otherwise_are_refused(void **state)
{
    struct fixture *f = *state;

    REFUSED(FIRST HOST LENGTH "X-A: b\nX-B: c\r\n", LINES);
    REFUSED(FIRST HOST LENGTH "X-A: b\n", LINES);
    REFUSED("POST /first HTTP/1.1\n" HOST LENGTH, LINES);
}

static void what_is_read_as_one_may_be_there_once(void **state)
{
    struct fixture *f = *state;

    REFUSED(FIRST HOST LENGTH LENGTH, TWICE);
    REFUSED(FIRST HOST HOST LENGTH, TWICE);
    REFUSED(FIRST HOST LENGTH "host: y\r\n", TWICE);
    REFUSED(FIRST HOST LENGTH "Authorization: Bearer a\r\nAuthorization: Bearer b\r\n", TWICE);
    REFUSED(FIRST HOST LENGTH "Content-Type: a\r\nContent-Type: b\r\n", TWICE);
    REFUSED(FIRST HOST LENGTH "Idempotency-Key: a\r\nIdempotency-Key: b\r\n", TWICE);
    REFUSED(FIRST HOST CHUNKED CHUNKED, TWICE);
}

static void a_body_has_one_end_F50(void **state)
{
    struct fixture *f = *state;

    REFUSED(FIRST HOST LENGTH CHUNKED, CODING);
    REFUSED(FIRST HOST CHUNKED LENGTH, CODING);
    REFUSED(FIRST HOST "Transfer-Encoding: gzip, chunked\r\n", CODING);
    REFUSED(FIRST HOST "Transfer-Encoding: identity\r\n", CODING);
    REFUSED(FIRST HOST "Transfer-Encoding:\r\n" LENGTH, CODING);
    REFUSED("POST /first HTTP/1.0\r\n" CHUNKED, CODING);
}

static void a_host_is_wanted(void **state)
{
    struct fixture *f = *state;

    REFUSED(FIRST LENGTH, "wants a Host");
    REFUSED(FIRST, "wants a Host");
}

/* libmicrohttpd ends method and target at a NUL, and takes spaces for one. */
static void a_request_line_has_three_words_F50(void **state)
{
    struct fixture *f = *state;

    REFUSED("POST /first\0second HTTP/1.1\r\n" HOST LENGTH, REQUEST_LINE);
    REFUSED("POST /first\0 HTTP/1.1\r\n" HOST LENGTH, REQUEST_LINE);
    REFUSED("POST /first?a\0b HTTP/1.1\r\n" HOST LENGTH, REQUEST_LINE);
    REFUSED("POST\0X /first HTTP/1.1\r\n" HOST LENGTH, REQUEST_LINE);
    REFUSED("POST\0 /first HTTP/1.1\r\n" HOST LENGTH, REQUEST_LINE);
    REFUSED("POST  /first HTTP/1.1\r\n" HOST LENGTH, REQUEST_LINE);
    REFUSED("PO(ST /first HTTP/1.1\r\n" HOST LENGTH, REQUEST_LINE);
    REFUSED("POST /first  HTTP/1.1\r\n" HOST LENGTH, "target");
}

static void targets_are_printable(void **state)
{
    struct fixture *f = *state;

    REFUSED("POST /first second HTTP/1.1\r\n" HOST LENGTH, "target");
    REFUSED("POST /first\t HTTP/1.1\r\n" HOST LENGTH, "target");
    REFUSED("POST /f\xc3\xbcrst HTTP/1.1\r\n" HOST LENGTH, "target");
}

/* In pieces of so many bytes, each taken before the next. */
static void say_in_pieces(struct fixture *f, int fd, const char *text, size_t piece)
{
    for (size_t at = 0, len = strlen(text); at < len; at += piece) {
        web_say_bytes(fd, text + at, MIN(piece, len - at));
        turn(f);
    }
}

static void good_heads_pass_however_they_come(void **state)
{
    struct fixture *f = *state;
    static const char *const requests[] = {
        FIRST HOST LENGTH "X-A: b\r\n\r\n{}",
        FIRST HOST LENGTH "X-A:\t b\r\nX-A: c\r\n\r\n{}",
        FIRST HOST LENGTH "X-A:b\r\nX-B:\r\nX-C:  \r\n\r\n{}",
        FIRST HOST LENGTH "x-a: b\r\nCookie: a=b; c=d\r\nX-F: \xc3\xbc\r\n\r\n{}",
        FIRST HOST CHUNKED "X-A: b\r\n\r\n2;x=y\r\n{}\r\n0\r\nX-T: u\r\n\r\n",
        "\r\nPOST /first?a=b&c HTTP/1.1\r\n" HOST LENGTH "X-A: b\r\n\r\n{}",
        "POST /fir%73t?a=%20&%63+d HTTP/1.1\r\n" HOST LENGTH "X-A: b\r\n\r\n{}",
        "POST http://x/first HTTP/1.1\r\n" HOST LENGTH "X-A: b\r\n\r\n{}",
        "POST /first HTTP/1.0\r\n" LENGTH "X-A: b\r\n\r\n{}",
    };

    for (size_t i = 0; i < ARRAY_LEN(requests); i++)
        for (size_t piece = 1; piece <= 512; piece *= 8) {
            int fd = web_dial(&f->web);
            f->body = 0;
            say_in_pieces(f, fd, requests[i], piece);
            web_until(&f->web, fd, "HTTP/1.1 200 ");
            assert_string_equal(f->value, "b");
            assert_int_equal(f->body, 2);
            close(fd);
        }
    assert_int_equal(f->requests, 4 * ARRAY_LEN(requests));
}

static void until_requests(struct fixture *f, int n)
{
    int64_t until_us = clock_monotonic_us() + WAIT_US;

    while (f->requests < n) {
        assert_true(clock_monotonic_us() < until_us);
        turn(f);
    }
}

/* libmicrohttpd's memory of the connection grows meanwhile. */
static void a_large_head_passes(void **state)
{
    struct fixture *f = *state;
    char line[400];
    int fd = web_dial(&f->web);

    web_say(fd, FIRST HOST "X-A: b\r\n" LENGTH);
    memset(line, 'v', sizeof line);
    for (int i = 0; i < 60; i++) {
        memcpy(line, "X-Long: ", 8);
        memcpy(line + sizeof line - 3, "\r\n", 3);
        say_in_pieces(f, fd, line, 150);
    }
    web_say(fd, "\r\n{}" SECOND);
    until_requests(f, 2);
    assert_int_equal(f->seconds, 1);
    assert_string_equal(f->value, "");
    close(fd);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(lines_that_are_none_are_refused_F50),
        T(control_characters_are_refused),
        T(lines_that_end_otherwise_are_refused),
        T(what_is_read_as_one_may_be_there_once),
        T(a_body_has_one_end_F50),
        T(a_host_is_wanted),
        T(a_request_line_has_three_words_F50),
        T(targets_are_printable),
        T(good_heads_pass_however_they_come),
        T(a_large_head_passes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
