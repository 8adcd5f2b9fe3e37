/* The cache on a real Redis, and on one that is away, hung, or holds something else (F27-F31). */
#include "common/base.h"

#include <setjmp.h>
#include <cmocka.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <signal.h>

#include "common/cache.h"
#include "common/clock.h"
#include "tests/support/servers.h"

#define WAIT_US (20 * SECOND_US)

static struct servers *servers;
static struct arena *arena;
static struct cache *cache;

static int start(void **state)
{
    (void)state;
    char address[256];
    (void)signal(SIGPIPE, SIG_IGN);
    servers = servers_start(true);
    arena = arena_new(16 * MIB);
    snprintf(address, sizeof address, "unix:%s", servers_redis_path(servers));
    cache = cache_new(address, NULL);
    return cache ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    cache_free(cache);
    arena_free(arena);
    servers_stop(servers);
    return 0;
}

/* As somebody else's client would. */
static void redis(const char *line)
{
    redisContext *c = redisConnectUnix(servers_redis_path(servers));
    assert_true(c && !c->err);
    redisReply *r = redisCommand(c, line);
    assert_true(r && r->type != REDIS_REPLY_ERROR);
    freeReplyObject(r);
    redisFree(c);
}

static enum err set(const char *key, int64_t version, const char *text)
{
    return cache_set_versioned(cache, key, version, text, strlen(text), 60000);
}

static void holds(const char *key, int64_t version, const char *text)
{
    int64_t got = -1;
    uint8_t *data = NULL;
    size_t len = 0;
    assert_int_equal(cache_get_versioned(cache, key, arena, &got, &data, &len), ERR_OK);
    assert_int_equal(got, version);
    assert_int_equal(len, strlen(text));
    assert_memory_equal(data, text, len);
}

static enum err get(const char *key)
{
    int64_t version;
    uint8_t *data;
    size_t len;
    return cache_get_versioned(cache, key, arena, &version, &data, &len);
}

static void until_back(void)
{
    int64_t until_us = clock_monotonic_us() + WAIT_US;
    while (set("probe", 1, "x")) {
        assert_true(clock_monotonic_us() < until_us);
        poll(NULL, 0, 5);
    }
}

static void f31_an_older_value_never_replaces_a_newer_one(void **state)
{
    (void)state;
    static const int64_t versions[] = { 1,
                                        2,
                                        127,
                                        128,
                                        255,
                                        256,
                                        65535,
                                        1 << 24,
                                        1LL << 40,
                                        (1LL << 53) + 1,
                                        (1LL << 53) + 2,
                                        INT64_MAX };
    assert_int_equal(get("list"), ERR_NOT_FOUND);
    for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
        assert_int_equal(set("list", versions[i], "new"), ERR_OK);
        holds("list", versions[i], "new");
        for (size_t j = 0; j < i; j++)
            assert_int_equal(set("list", versions[j], "old"), ERR_ABORTED);
        assert_int_equal(set("list", versions[i], "same version"), ERR_OK);
        holds("list", versions[i], "new");
    }
    assert_int_equal(cache_delete(cache, "list"), ERR_OK);
    assert_int_equal(get("list"), ERR_NOT_FOUND);
    assert_int_equal(set("list", 0, ""), ERR_OK);
    holds("list", 0, "");
}

static void bytes_and_keys_are_taken_as_they_are(void **state)
{
    (void)state;
    static const char bytes[] = "a\0b\r\n%s$5";
    const char *key = "k %s {t}:*\"'";
    uint8_t *data = NULL;
    size_t len = 0;
    int64_t version;
    assert_int_equal(cache_set_versioned(cache, key, 5, bytes, sizeof bytes, 60000), ERR_OK);
    assert_int_equal(cache_get_versioned(cache, key, arena, &version, &data, &len), ERR_OK);
    assert_int_equal(len, sizeof bytes);
    assert_memory_equal(data, bytes, len);
    redis("SET plain hello");
    assert_int_equal(cache_get(cache, "plain", arena, &data, &len), ERR_OK);
    assert_int_equal(len, 5);
}

static void f30_a_value_that_is_not_ours_is_deleted(void **state)
{
    (void)state;
    redis("SET bad 1234567");
    assert_int_equal(get("bad"), ERR_NOT_FOUND);
    redis("RPUSH bad 1"); /* would fail if it were still there */
    assert_int_equal(get("bad"), ERR_NOT_FOUND);
    redis("HSET bad field 1");
    assert_int_equal(set("bad", 3, "ours"), ERR_OK);
    holds("bad", 3, "ours");
}

static void values_end_after_their_time(void **state)
{
    (void)state;
    assert_int_equal(cache_set_versioned(cache, "brief", 1, "x", 1, 30), ERR_OK);
    int64_t until_us = clock_monotonic_us() + WAIT_US;
    while (get("brief") != ERR_NOT_FOUND) {
        assert_true(clock_monotonic_us() < until_us);
        poll(NULL, 0, 5);
    }
}

static void f29_a_full_redis_refuses_and_nothing_else_happens(void **state)
{
    (void)state;
    assert_int_equal(set("kept", 1, "x"), ERR_OK);
    redis("CONFIG SET maxmemory-policy noeviction");
    redis("CONFIG SET maxmemory 1");
    assert_int_equal(set("other", 1, "x"), ERR_UNAVAILABLE);
    holds("kept", 1, "x"); /* no circuit: reading goes on */
    redis("CONFIG SET maxmemory 0");
    assert_int_equal(set("other", 1, "x"), ERR_OK);
}

static void f28_a_hung_redis_costs_one_budget_then_nothing(void **state)
{
    (void)state;
    until_back();
    servers_pause_redis(servers);
    int64_t start_us = clock_monotonic_us();
    assert_int_equal(get("probe"), ERR_UNAVAILABLE);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(get("probe"), ERR_UNAVAILABLE);
    /* one budget, not a thousand; wide for a loaded machine */
    assert_true(clock_monotonic_us() - start_us < 2 * SECOND_US);
    servers_resume_redis(servers);
    until_back();
    holds("probe", 1, "x"); /* and not the answer to an earlier question */
}

static void f27_it_comes_back_by_itself(void **state)
{
    (void)state;
    assert_int_equal(set("probe", 1, "x"), ERR_OK);
    servers_stop_redis(servers);
    assert_int_equal(get("probe"), ERR_UNAVAILABLE);
    assert_int_equal(cache_delete(cache, "probe"), ERR_UNAVAILABLE);
    servers_start_redis(servers);
    until_back();
    holds("probe", 1, "x");
}

static void addresses_that_lead_nowhere_are_away(void **state)
{
    (void)state;
    static const char *const nowhere[] = { "127.0.0.1:1", "unix:/nowhere/at/all", "127.0.0.1:port",
                                           "127.0.0.1:99999" };
    for (size_t i = 0; i < ARRAY_LEN(nowhere); i++) {
        struct cache *c = cache_new(nowhere[i], "password");
        assert_int_equal(cache_delete(c, "x"), ERR_UNAVAILABLE);
        cache_free(c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f31_an_older_value_never_replaces_a_newer_one),
        cmocka_unit_test(bytes_and_keys_are_taken_as_they_are),
        cmocka_unit_test(f30_a_value_that_is_not_ours_is_deleted),
        cmocka_unit_test(values_end_after_their_time),
        cmocka_unit_test(f29_a_full_redis_refuses_and_nothing_else_happens),
        cmocka_unit_test(f28_a_hung_redis_costs_one_budget_then_nothing),
        cmocka_unit_test(f27_it_comes_back_by_itself),
        cmocka_unit_test(addresses_that_lead_nowhere_are_away),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
