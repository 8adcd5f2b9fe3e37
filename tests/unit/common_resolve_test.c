/* Names and their addresses, with lookups that hang, fail and change their mind (F65). */
#include "common/base.h"

#include <setjmp.h>
#include <cmocka.h>

#include "common/resolve.h"
#include "tests/unit/common_dns_fixture.h"

#define ASKERS 8

static void expect(const struct resolve *r, const char *want)
{
    char text[RESOLVE_TEXT_MAX];
    uint64_t generation;

    assert_true(resolve_get(r, text, &generation));
    assert_string_equal(text, want);
    assert_int_equal(generation, resolve_generation(r));
}

static bool gives(const struct resolve *r, const char *want)
{
    char text[RESOLVE_TEXT_MAX];
    uint64_t generation;
    return resolve_get(r, text, &generation) && strcmp(text, want) == 0;
}

static struct resolve *acquire(const char *endpoint)
{
    struct resolve *r = resolve_acquire_endpoint(endpoint);
    assert_non_null(r);
    return r;
}

static void wait_known(const struct resolve *r)
{
    assert_true(resolve_wait(r, clock_monotonic_us() + slack(DNS_WAIT_US)));
}

static void look_twice(const struct resolve *r, const char *name)
{
    int before = dns_lookups(name);
    for (int i = 1; i <= 2; i++) {
        resolve_again(r);
        WAIT_UNTIL(dns_lookups(name) >= before + i, DNS_WAIT_US);
    }
}

static void addresses_and_other_transports_pass_as_they_are(void **state)
{
    (void)state;
    static const char *const endpoints[] = {
        "tcp://127.0.0.1:5555",        "tcp://[::1]:5555",  "tcp://[fe80::1%lo]:5555",
        "tcp://eth0:0;127.0.0.1:5555", "ipc:///tmp/socket", "inproc://bus",
    };
    for (size_t i = 0; i < ARRAY_LEN(endpoints); i++) {
        struct resolve *r = acquire(endpoints[i]);
        assert_true(resolve_wait(r, 0));
        expect(r, endpoints[i]);
        resolve_again(r);
        resolve_release(r);
    }
    struct resolve *r = resolve_acquire_host("::1");
    expect(r, "::1");
    resolve_release(r);
    assert_int_equal(dns.n, 0); /* nobody was asked */
}

static void what_libzmq_would_not_take_or_would_look_up_is_refused(void **state)
{
    (void)state;
    static const char *const endpoints[] = {
        "tcp://",       "tcp://bus",        "tcp://:5555",     "tcp://bus:",      "tcp://bus:0",
        "tcp://bus:5a", "tcp://bus:65536",  "tcp://b us:5555", "tcp://b%us:5555", "tcp://*:5555",
        "tcp://x;:1",   "tcp://b\nus:5555", "tcp://x;b/s:1",   "tcp://b@x:5555",
    };
    for (size_t i = 0; i < ARRAY_LEN(endpoints); i++)
        if (resolve_acquire_endpoint(endpoints[i]))
            fail_msg("'%s' was taken", endpoints[i]);
    char longer[600] = "tcp://";
    memset(longer + strlen(longer), 'x', 300);
    memcpy(longer + 306, ":1", 3);
    assert_null(resolve_acquire_endpoint(longer));
    assert_null(resolve_acquire_host(""));
    assert_null(resolve_acquire_host("a b"));
    assert_null(resolve_acquire_host("a:b"));
    assert_null(resolve_acquire_host("127.0.0.1 a"));
    assert_null(resolve_acquire_host("[::1"));
}

static void a_name_becomes_its_address(void **state)
{
    (void)state;
    static const struct {
        const char *addresses, *want;
    } cases[] = {
        { "10.0.0.1", "tcp://10.0.0.1:5555" },
        { "10.0.0.2 10.0.0.1", "tcp://10.0.0.2:5555" },
        { "fd00::1 10.0.0.1 10.0.0.2", "tcp://10.0.0.1:5555" },
        { "fd00::2 fd00::1", "tcp://[fd00::2]:5555" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        dns_set("bus-0.example", cases[i].addresses, false);
        struct resolve *r = acquire("tcp://bus-0.example:5555");
        wait_known(r);
        expect(r, cases[i].want);
        resolve_release(r);
    }
    dns_set("redis", "fd00::9", false);
    struct resolve *r = resolve_acquire_host("redis");
    wait_known(r);
    expect(r, "fd00::9");
    resolve_release(r);
    dns_set("far", "10.0.0.9", false);
    r = acquire("tcp://eth0:0;far:1");
    wait_known(r);
    expect(r, "tcp://eth0:0;10.0.0.9:1");
    resolve_release(r);
}

static void one_that_hangs_holds_up_neither_the_others_nor_its_end(void **state)
{
    (void)state;
    char text[RESOLVE_TEXT_MAX];
    uint64_t generation;

    dns_set("slow", "10.0.0.1", true);
    dns_set("quick", "10.0.0.2", false);
    struct resolve *slow = acquire("tcp://slow:1"), *quick = acquire("tcp://quick:2");
    WAIT_UNTIL(dns_lookups("slow") == 1, DNS_WAIT_US);
    wait_known(quick);
    expect(quick, "tcp://10.0.0.2:2");
    assert_int_equal(resolve_generation(slow), 0);
    assert_false(resolve_get(slow, text, &generation));
    assert_false(resolve_wait(slow, clock_monotonic_us() + 20 * MSEC_US));
    resolve_release(slow); /* or the test would hang here */
    slow = acquire("tcp://slow:1");
    WAIT_UNTIL(dns_lookups("slow") == 2, DNS_WAIT_US); /* by a thread of its own */
    dns_set("slow", "10.0.0.1", false);
    wait_known(slow);
    expect(slow, "tcp://10.0.0.1:1");
    resolve_release(slow);
    resolve_release(quick);
}

static void the_last_address_holds_while_lookups_fail(void **state)
{
    (void)state;
    dns_set("bus", NULL, false);
    struct resolve *r = acquire("tcp://bus:1");
    WAIT_UNTIL(dns_lookups("bus") >= 2, DNS_WAIT_US); /* again, unasked */
    assert_int_equal(resolve_generation(r), 0);
    dns_set("bus", "10.0.0.1", false);
    wait_known(r);
    uint64_t generation = resolve_generation(r);

    dns_set("bus", NULL, false);
    look_twice(r, "bus");
    expect(r, "tcp://10.0.0.1:1");
    assert_int_equal(resolve_generation(r), generation);
    dns_set("bus", "10.0.0.1", true); /* one that hangs takes nothing away either */
    int before = dns_lookups("bus");
    resolve_again(r);
    WAIT_UNTIL(dns_lookups("bus") > before, DNS_WAIT_US);
    expect(r, "tcp://10.0.0.1:1");
    resolve_release(r);
}

static void another_address_is_seen_unasked_and_a_turned_list_is_not_one(void **state)
{
    (void)state;
    dns_set("bus", "10.0.0.1 10.0.0.2", false);
    struct resolve *r = acquire("tcp://bus:1");
    wait_known(r);
    uint64_t generation = resolve_generation(r);
    dns_set("bus", "10.0.0.2 10.0.0.3 10.0.0.1", false);
    look_twice(r, "bus"); /* then the first of them is noted */
    expect(r, "tcp://10.0.0.1:1");
    assert_int_equal(resolve_generation(r), generation);
    dns_set("bus", "10.0.0.2", false);
    WAIT_UNTIL(resolve_generation(r) != generation, DNS_WAIT_US);
    expect(r, "tcp://10.0.0.2:1");
    resolve_release(r);
}

static void *ask(void *arg)
{
    atomic_int *wrong = arg;
    for (int i = 0; i < 200; i++) {
        struct resolve *one = resolve_acquire_endpoint("tcp://shared:1");
        struct resolve *two = resolve_acquire_endpoint("tcp://shared:2");
        bool ok = one && two && resolve_wait(one, clock_monotonic_us() + slack(DNS_WAIT_US)) &&
                  gives(one, "tcp://10.0.0.1:1") && gives(two, "tcp://10.0.0.1:2");
        if (one)
            resolve_again(one);
        resolve_release(one);
        resolve_release(two);
        if (!ok)
            atomic_fetch_add(wrong, 1);
    }
    return NULL;
}

static void many_may_ask_at_once_and_share_the_lookups(void **state)
{
    (void)state;
    pthread_t threads[ASKERS];
    atomic_int wrong = 0;

    dns_set("shared", "10.0.0.1", false);
    struct resolve *r = acquire("tcp://shared:1");
    wait_known(r);
    for (int i = 0; i < ASKERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask, &wrong), 0);
    for (int i = 0; i < ASKERS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(wrong, 0);
    assert_true(dns_lookups("shared") < 2 * ASKERS); /* for thousands of questions */
    resolve_release(r);
    for (int i = 0; i < ASKERS; i++) /* without one who keeps it: threads come and go */
        assert_int_equal(pthread_create(&threads[i], NULL, ask, &wrong), 0);
    for (int i = 0; i < ASKERS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(wrong, 0);
}

static void names_are_bounded(void **state)
{
    (void)state;
    static char names[RESOLVE_NAMES_MAX + 1][32];
    struct resolve *held[RESOLVE_NAMES_MAX];

    for (size_t i = 0; i <= RESOLVE_NAMES_MAX; i++) {
        snprintf(names[i], sizeof names[i], "name-%zu", i);
        dns_set(names[i], "10.0.0.1", false);
    }
    for (size_t i = 0; i < RESOLVE_NAMES_MAX; i++) {
        held[i] = resolve_acquire_host(names[i]);
        assert_non_null(held[i]);
    }
    assert_null(resolve_acquire_host(names[RESOLVE_NAMES_MAX]));
    struct resolve *shared = resolve_acquire_host(names[0]);
    assert_non_null(shared);
    resolve_release(shared);
    resolve_release(held[0]);
    held[0] = resolve_acquire_host(names[RESOLVE_NAMES_MAX]);
    assert_non_null(held[0]);
    for (size_t i = 0; i < RESOLVE_NAMES_MAX; i++)
        resolve_release(held[i]);
}

#define TEST(name) cmocka_unit_test_teardown(name, dns_reset)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(addresses_and_other_transports_pass_as_they_are),
        TEST(what_libzmq_would_not_take_or_would_look_up_is_refused),
        TEST(a_name_becomes_its_address),
        TEST(one_that_hangs_holds_up_neither_the_others_nor_its_end),
        TEST(the_last_address_holds_while_lookups_fail),
        TEST(another_address_is_seen_unasked_and_a_turned_list_is_not_one),
        TEST(many_may_ask_at_once_and_share_the_lookups),
        TEST(names_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
