/* Our own listeners: addresses, sockets left behind, connections that nobody takes. */
#include "common/base.h"

#include <errno.h>
#include <setjmp.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/net.h"
#include "tests/support/folder.h"

static char folder[FOLDER_MAX], path[FOLDER_MAX + 16];

static int setup(void **state)
{
    (void)state;
    folder_make(folder, "daybook-net");
    (void)snprintf(path, sizeof(path), "unix:%s/net", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    folder_remove(folder);
    return 0;
}

static void it_listens_where_it_is_told(void **state)
{
    (void)state;
    const struct {
        const char *address, *start;
    } cases[] = {
        { "127.0.0.1:0", "127.0.0.1:" }, { ":0", "127.0.0.1:" }, { "*:0", "0.0.0.0:" },
        { "localhost:0", NULL },         { path, path },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char actual[NET_ADDRESS_MAX];
        CLEANUP(net_closep) int listener = net_listen(cases[i].address, 4, actual);
        if (listener < 0)
            fail_msg("%s: errno %d", cases[i].address, errno);
        if (cases[i].start)
            assert_int_equal(strncmp(actual, cases[i].start, strlen(cases[i].start)), 0);
        assert_null(strstr(actual + strlen(actual) - 2, ":0"));
        CLEANUP(net_closep) int peer = net_connect(actual, 5000);
        assert_true(peer >= 0);
    }
    (void)unlink(path + 5);
}

static void malformed_addresses_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",       "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:99999999999999",
        "::1:80", "unix:",     "no host:80"
    };
    char actual[NET_ADDRESS_MAX];
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        errno = 0;
        if (net_listen(bad[i], 4, actual) >= 0)
            fail_msg("'%s' is taken", bad[i]);
        assert_int_equal(errno, EINVAL);
        assert_true(net_connect(bad[i], 1) < 0);
    }
    assert_true(net_listen(NULL, 4, actual) < 0);
    char too_long[200] = "unix:/";
    memset(too_long + 6, 'x', sizeof(too_long) - 7);
    assert_true(net_listen(too_long, 4, actual) < 0);
}

static void an_address_is_used_once(void **state)
{
    (void)state;
    char actual[NET_ADDRESS_MAX], again[NET_ADDRESS_MAX];
    CLEANUP(net_closep) int tcp = net_listen("127.0.0.1:0", 4, actual);
    assert_true(tcp >= 0);
    assert_true(net_listen(actual, 4, again) < 0);
    assert_int_equal(errno, EADDRINUSE);

    CLEANUP(net_closep) int local = net_listen(path, 4, actual);
    assert_true(local >= 0);
    assert_true(net_listen(path, 4, again) < 0); /* it lives: its socket stays */
    assert_int_equal(errno, EADDRINUSE);
    CLEANUP(net_closep) int peer = net_connect(path, 5000);
    assert_true(peer >= 0);
    (void)unlink(path + 5);
}

static void a_socket_file_left_behind_is_replaced(void **state)
{
    (void)state;
    char actual[NET_ADDRESS_MAX];
    int killed = net_listen(path, 4, actual);
    assert_true(killed >= 0);
    close(killed); /* as after kill -9: the file stays (F01) */
    struct stat st;
    assert_int_equal(stat(path + 5, &st), 0);
    assert_true(net_connect(path, 1000) < 0);
    CLEANUP(net_closep) int listener = net_listen(path, 4, actual);
    assert_true(listener >= 0);
    (void)unlink(path + 5);
}

static void another_file_is_never_removed(void **state)
{
    (void)state;
    char actual[NET_ADDRESS_MAX];
    FILE *f = fopen(path + 5, "w");
    assert_non_null(f);
    (void)fclose(f);
    assert_true(net_listen(path, 4, actual) < 0);
    assert_int_equal(unlink(path + 5), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_listens_where_it_is_told),
        cmocka_unit_test(malformed_addresses_are_refused),
        cmocka_unit_test(an_address_is_used_once),
        cmocka_unit_test(a_socket_file_left_behind_is_replaced),
        cmocka_unit_test(another_file_is_never_removed),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
