/* The admin listener, asked over real sockets. */
#include "common/base.h"

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/admin.h"
#include "common/clock.h"
#include "common/metrics.h"
#include "common/net.h"
#include "common/sbuf.h"
#include "common/version.h"
#include "tests/support/folder.h"

static atomic_bool database_is_up;

static size_t ready_checks(void *ctx, struct admin_check *checks, size_t max)
{
    if (max < 2 || strcmp(ctx, "context") != 0) /* in its thread, where cmocka cannot fail */
        abort();
    checks[0] = (struct admin_check){ .name = "bus", .ok = true, .detail = "registered" };
    checks[1] = (struct admin_check){ .name = "database", .ok = atomic_load(&database_is_up) };
    (void)snprintf(checks[1].detail, sizeof(checks[1].detail), "%s",
                   checks[1].ok ? "answered" : "no \"answer\"");
    return 2;
}

static size_t live_checks(void *ctx, struct admin_check *checks, size_t max)
{
    (void)ctx;
    (void)max;
    checks[0] = (struct admin_check){ .name = "loop", .ok = true };
    return 1;
}

static struct admin *admin;
static struct sbuf answer; /* the whole of the last one */

static int setup(void **state)
{
    (void)state;
    static char context[] = "context";
    const struct admin_hooks hooks = { .live = live_checks, .ready = ready_checks, .ctx = context };
    atomic_store(&database_is_up, true);
    sbuf_init(&answer, 32 * MIB);
    admin = admin_start("127.0.0.1:0", &hooks);
    return admin ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    admin_stop(admin);
    sbuf_fini(&answer);
    metrics_stop();
    return 0;
}

/* Reads until the peer closes; false when that takes more than 20 s. */
static bool read_to_end(int fd)
{
    char buf[4096];
    struct pollfd p = { .fd = fd, .events = POLLIN };
    sbuf_clear(&answer);
    while (poll(&p, 1, 20000) > 0) {
        ssize_t n = recv(fd, buf, sizeof(buf), 0);
        if (n <= 0)
            return n == 0 || errno == ECONNRESET;
        sbuf_add(&answer, buf, (size_t)n);
    }
    return false;
}

static int ask_bytes(const char *bytes, size_t len)
{
    CLEANUP(net_closep) int fd = net_connect(admin_address(admin), 5000);
    assert_true(fd >= 0);
    assert_int_equal(send(fd, bytes, len, MSG_NOSIGNAL), len);
    assert_true(read_to_end(fd));
    int status = 0;
    if (sscanf(answer.data, "HTTP/1.1 %d ", &status) != 1)
        fail_msg("no status in '%s'", answer.data);
    return status;
}

static int ask(const char *target)
{
    char request[256];
    (void)snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", target);
    return ask_bytes(request, strlen(request));
}

static const char *body(void)
{
    const char *end = strstr(answer.data, "\r\n\r\n");
    assert_non_null(end);
    return end + 4;
}

static void probes_follow_their_checks(void **state)
{
    (void)state;
    assert_int_equal(ask("/readyz"), 200);
    assert_string_equal(body(), "ok\n");
    assert_int_equal(ask("/livez"), 200);
    assert_int_equal(ask("/startupz"), 200); /* has no checks */

    atomic_store(&database_is_up, false);
    assert_int_equal(ask("/readyz"), 503);
    assert_string_equal(body(), "database: no \"answer\"\n");
    assert_int_equal(ask("/livez"), 200); /* a database that is away never restarts us */
}

static void verbose_is_json_with_a_check_a_line(void **state)
{
    (void)state;
    atomic_store(&database_is_up, false);
    assert_int_equal(ask("/readyz?verbose"), 503);
    assert_non_null(strstr(answer.data, "Content-Type: application/json\r\n"));
    json_error_t wrong;
    json_t *o = json_loads(body(), 0, &wrong);
    if (!o)
        fail_msg("%s: %s", wrong.text, body());
    assert_true(json_is_false(json_object_get(o, "ok")));
    json_t *checks = json_object_get(o, "checks");
    assert_int_equal(json_array_size(checks), 2);
    json_t *second = json_array_get(checks, 1);
    assert_string_equal(json_string_value(json_object_get(second, "name")), "database");
    assert_string_equal(json_string_value(json_object_get(second, "detail")), "no \"answer\"");
    assert_true(json_is_false(json_object_get(second, "ok")));
    json_decref(o);
    assert_non_null(strstr(body(), "\n{\"name\":\"database\""));
    assert_int_equal(ask("/livez?verbose=1"), 200);
    assert_int_equal(ask("/startupz?verbose"), 200);
    assert_string_equal(body(), "{\"ok\":true,\"checks\":[\n]}\n");
}

static void metrics_tell_build_and_readiness(void **state)
{
    (void)state;
    char want[128];
    assert_int_equal(ask("/metrics"), 200);
    assert_non_null(strstr(answer.data, "Content-Type: text/plain; version=0.0.4"));
    assert_non_null(strstr(body(), "\ndaybook_ready 1\n"));
    (void)snprintf(want, sizeof(want), "\ndaybook_build_info{version=\"%s\",commit=\"%s\"} 1\n",
                   daybook_version(), daybook_commit());
    assert_non_null(strstr(body(), want));
    assert_non_null(strstr(body(), "\nprocess_open_fds "));
    atomic_store(&database_is_up, false);
    assert_int_equal(ask("/metrics"), 200);
    assert_non_null(strstr(body(), "\ndaybook_ready 0\n"));
}

static void the_version_is_told(void **state)
{
    (void)state;
    assert_int_equal(ask("/version"), 200);
    json_t *o = json_loads(body(), 0, NULL);
    assert_string_equal(json_string_value(json_object_get(o, "version")), daybook_version());
    assert_string_equal(json_string_value(json_object_get(o, "commit")), daybook_commit());
    json_decref(o);
    assert_true(strchr(daybook_version(), '.') != NULL);
    assert_true(daybook_commit()[0] != '\0');
}

static void the_length_is_that_of_the_body(void **state)
{
    (void)state;
    unsigned long length = 0;
    assert_int_equal(ask("/metrics"), 200);
    const char *at = strstr(answer.data, "Content-Length: ");
    assert_non_null(at);
    assert_int_equal(sscanf(at, "Content-Length: %lu", &length), 1);
    assert_int_equal(length, answer.len - (size_t)(body() - answer.data));

    static const char head[] = "HEAD /version HTTP/1.1\r\n\r\n";
    assert_int_equal(ask_bytes(head, sizeof(head) - 1), 200);
    assert_string_equal(body(), "");
    assert_null(strstr(answer.data, "Content-Length: 0\r\n"));
}

static void what_it_does_not_serve_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *request;
        int want;
    } cases[] = {
        { "GET / HTTP/1.1\r\n\r\n", 404 },
        { "GET /readyzz HTTP/1.1\r\n\r\n", 404 },
        { "GET /../readyz HTTP/1.1\r\n\r\n", 404 },
        { "POST /readyz HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", 405 },
        { "get /readyz HTTP/1.1\r\n\r\n", 405 },
        { "GET /readyz HTTP/2.0\r\n\r\n", 505 },
        { "GET /readyz HTTP/1.0\r\n\r\n", 200 },
        { "GET /readyz HTTP/1.1\n\n", 200 },
        { "GET readyz HTTP/1.1\r\n\r\n", 400 },
        { "GET /readyz\r\n\r\n", 400 },
        { "GET  /readyz HTTP/1.1\r\n\r\n", 400 },
        { "\r\n\r\n", 400 },
        { "\x16\x03\x01 \r\n\r\n", 400 },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int got = ask_bytes(cases[i].request, strlen(cases[i].request));
        if (got != cases[i].want)
            fail_msg("%s: %d, not %d", cases[i].request, got, cases[i].want);
    }
    assert_int_equal(ask_bytes("GET /\0x HTTP/1.1\r\n\r\n", 20), 400);
}

static void a_long_header_is_refused(void **state)
{
    (void)state;
    static char request[8192];
    memset(request, 'x', sizeof(request));
    memcpy(request, "GET /readyz HTTP/1.1\r\nA: ", 25);
    assert_int_equal(ask_bytes(request, sizeof(request)), 431);
    memcpy(request + sizeof(request) - 4, "\r\n\r\n", 4); /* 8 KiB and not a byte more */
    assert_int_equal(ask_bytes(request, sizeof(request)), 200);
}

static void a_request_may_come_in_pieces(void **state)
{
    (void)state;
    static const char request[] = "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n";
    CLEANUP(net_closep) int fd = net_connect(admin_address(admin), 5000);
    for (size_t i = 0; i < sizeof(request) - 1; i++)
        assert_int_equal(send(fd, request + i, 1, MSG_NOSIGNAL), 1);
    assert_true(read_to_end(fd));
    assert_int_equal(strncmp(answer.data, "HTTP/1.1 200 ", 13), 0);
}

/* 64 clients that send half a header hold every place, but only for 5 seconds. */
static void slow_clients_do_not_shut_others_out(void **state)
{
    (void)state;
    int slow[80];
    int64_t start_us = clock_monotonic_us();
    for (size_t i = 0; i < ARRAY_LEN(slow); i++) {
        slow[i] = net_connect(admin_address(admin), 5000);
        assert_true(slow[i] >= 0);
        assert_int_equal(send(slow[i], "GET /", 5, MSG_NOSIGNAL), 5);
    }
    assert_int_equal(ask("/livez"), 200);
    assert_true(clock_monotonic_us() - start_us < 20 * SECOND_US);
    assert_true(read_to_end(slow[0]));
    assert_int_equal(strncmp(answer.data, "HTTP/1.1 408 ", 13), 0);
    for (size_t i = 0; i < ARRAY_LEN(slow); i++)
        net_closep(&slow[i]);
}

static void health_asks_for_readiness(void **state)
{
    (void)state;
    assert_int_equal(admin_health(admin_address(admin)), 0);
    atomic_store(&database_is_up, false);
    assert_int_equal(admin_health(admin_address(admin)), 1);
    assert_int_equal(admin_health("127.0.0.1:1"), 1);
    assert_int_equal(admin_health("nonsense"), 1);
}

static void it_works_on_a_local_socket_and_leaves_no_file(void **state)
{
    (void)state;
    char folder[FOLDER_MAX], address[FOLDER_MAX + 16];
    const struct admin_hooks none = { 0 };
    folder_make(folder, "daybook-admin");
    (void)snprintf(address, sizeof(address), "unix:%s/admin", folder);
    struct admin *local = admin_start(address, &none);
    assert_non_null(local);
    assert_string_equal(admin_address(local), address);
    assert_int_equal(admin_health(address), 0);
    assert_null(admin_start(address, &none)); /* taken */
    assert_int_equal(errno, EADDRINUSE);
    assert_int_equal(admin_health(address), 0); /* and the first one still answers */
    admin_stop(local);
    assert_int_not_equal(access(address + 5, F_OK), 0);
    assert_null(admin_start("nonsense", &none));
    admin_stop(NULL);
    folder_remove(folder);
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(probes_follow_their_checks),
        CASE(verbose_is_json_with_a_check_a_line),
        CASE(metrics_tell_build_and_readiness),
        CASE(the_version_is_told),
        CASE(the_length_is_that_of_the_body),
        CASE(what_it_does_not_serve_is_refused),
        CASE(a_long_header_is_refused),
        CASE(a_request_may_come_in_pieces),
        CASE(slow_clients_do_not_shut_others_out),
        CASE(health_asks_for_readiness),
        CASE(it_works_on_a_local_socket_and_leaves_no_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
