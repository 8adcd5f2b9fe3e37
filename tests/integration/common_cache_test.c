/*
 * The cache against a private Redis that is stopped, hung, full, flushed, loaded with rubbish, or
 * written by somebody slow (F27 to F31 of operations 9).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <hiredis/hiredis.h>

#include "common/cache.h"
#include "common/clock.h"
#include "common/reread.h"
#include "tests/support/folder.h"
#include "tests/support/servers.h"
#include "tests/support/waiting.h"

#define KEY "list:{t}:1"
#define LIMIT_US (10 * SECOND_US)
#define TTL_MS 60000

static struct servers *servers;
static redisContext *raw; /* looks from outside */
static struct arena *arena;
static struct cache *cache;
static char address[256];

static void raw_connect(void)
{
    if (raw)
        redisFree(raw);
    raw = redisConnectUnix(servers_redis_path(servers));
    assert_true(raw && !raw->err);
}

static long long raw_number(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    redisReply *reply = redisvCommand(raw, fmt, ap);
    va_end(ap);
    assert_non_null(reply);
    if (reply->type == REDIS_REPLY_ERROR)
        fail_msg("%s", reply->str);
    long long n = reply->integer;
    freeReplyObject(reply);
    return n;
}

static enum err set(int64_t version, const char *data)
{
    return cache_set_versioned(cache, KEY, version, data, strlen(data), TTL_MS);
}

static enum err get(char **text_out, int64_t *version_out)
{
    uint8_t *data;
    size_t len;

    enum err e = cache_get_versioned(cache, KEY, arena, version_out, &data, &len);
    if (e == ERR_OK)
        *text_out = arena_strndup(arena, (const char *)data, len);
    return e;
}

static void expect(int64_t version, const char *data)
{
    char *text;
    int64_t found;
    enum err e = get(&text, &found);
    if (e)
        fail_msg("%s", err_name(e));
    assert_int_equal(found, version);
    assert_string_equal(text, data);
}

static void expect_missing(void)
{
    char *text;
    int64_t version;
    assert_int_equal(get(&text, &version), ERR_NOT_FOUND);
}

/* Until the circuit has closed again. */
static void expect_back(void)
{
    enum err e;
    WAIT_UNTIL((e = set(1000, "back")) != ERR_UNAVAILABLE, LIMIT_US);
    assert_int_equal(e, ERR_OK);
    expect(1000, "back");
}

static void keeps_values_with_their_versions(void **state)
{
    (void)state;
    static const char odd[] = "a\0b\r\nc";
    uint8_t *data;
    size_t len;
    int64_t version;

    expect_missing();
    assert_int_equal(set(7, "seven"), ERR_OK);
    expect(7, "seven");
    assert_true(raw_number("PTTL %s", KEY) > TTL_MS - LIMIT_US / MSEC_US);
    assert_int_equal(cache_set_versioned(cache, KEY, 8, odd, sizeof odd, TTL_MS), ERR_OK);
    assert_int_equal(cache_get_versioned(cache, KEY, arena, &version, &data, &len), ERR_OK);
    assert_int_equal(len, sizeof odd);
    assert_memory_equal(data, odd, sizeof odd);
    assert_int_equal(cache_get(cache, KEY, arena, &data, &len), ERR_OK);
    assert_int_equal(len, sizeof odd);
    assert_int_equal(cache_set_versioned(cache, KEY, 9, "", 0, TTL_MS), ERR_OK);
    expect(9, "");
    assert_int_equal(cache_delete(cache, KEY), ERR_OK);
    assert_int_equal(cache_delete(cache, KEY), ERR_OK);
    expect_missing();
}

static void an_older_version_never_covers_a_newer_one_F31(void **state)
{
    (void)state;
    static const struct {
        int64_t version;
        enum err want;
        int64_t then;
    } steps[] = {
        { 5, ERR_OK, 5 },
        { 4, ERR_ABORTED, 5 },
        { 5, ERR_OK, 5 },
        { 255, ERR_OK, 255 },
        { 256, ERR_OK, 256 },
        { 255, ERR_ABORTED, 256 },
        { INT64_MAX, ERR_OK, INT64_MAX },
        { 0, ERR_ABORTED, INT64_MAX },
    };

    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        char text[24], then[24];
        snprintf(text, sizeof text, "%" PRId64, steps[i].version);
        snprintf(then, sizeof then, "%" PRId64, steps[i].then);
        assert_int_equal(set(steps[i].version, text), steps[i].want);
        expect(steps[i].then, then);
    }
}

static void values_of_others_are_deleted_not_shown_F30(void **state)
{
    (void)state;
    static const char *const spoil[] = {
        "SET %s short",       "SET %s 12345678901234567890123456789012345678901234567890",
        "LPUSH %s a",         "HSET %s a b",
        "APPEND %s x",        /* longer than it was */
        "SETRANGE %s 0 zzzz", /* another version */
        "SETRANGE %s 30 z",   /* other data */
    };

    for (size_t i = 0; i < ARRAY_LEN(spoil); i++) {
        assert_int_equal(set(3, "sound data"), ERR_OK);
        if (i < 4)
            raw_number("DEL %s", KEY);
        raw_number(spoil[i], KEY);
        expect_missing();
        assert_int_equal(raw_number("EXISTS %s", KEY), 0);
    }
    /* A sound value under another key, such as another tenant's. */
    assert_int_equal(cache_set_versioned(cache, "list:{u}:1", 3, "theirs", 6, TTL_MS), ERR_OK);
    raw_number("RENAME list:{u}:1 %s", KEY);
    expect_missing();
    /* A write over a wrong type mends it. */
    raw_number("LPUSH %s a", KEY);
    assert_int_equal(set(1, "mended"), ERR_OK);
    expect(1, "mended");
}

static void a_flushed_server_is_told_the_script_again_F29(void **state)
{
    (void)state;
    assert_int_equal(set(2, "two"), ERR_OK);
    raw_number("SCRIPT FLUSH");
    raw_number("FLUSHALL");
    assert_int_equal(set(1, "one"), ERR_OK);
    expect(1, "one");
}

static void a_full_server_refuses_writes_only_F29(void **state)
{
    (void)state;
    static char big[200000];
    memset(big, 'x', sizeof big - 1);
    assert_int_equal(set(1, "small"), ERR_OK);
    raw_number("CONFIG SET maxmemory-policy noeviction");
    raw_number("CONFIG SET maxmemory 1");
    assert_int_equal(set(2, big), ERR_UNAVAILABLE);
    expect(1, "small"); /* at once: the circuit has stayed closed */
    raw_number("CONFIG SET maxmemory 0");
    assert_int_equal(set(2, "two"), ERR_OK);
    expect(2, "two");
}

static void a_hung_server_costs_its_budget_once_F28(void **state)
{
    (void)state;
    char *text;
    int64_t version;

    assert_int_equal(set(1, "one"), ERR_OK);
    servers_pause_redis(servers);
    int64_t begun_us = clock_monotonic_us();
    assert_int_equal(get(&text, &version), ERR_UNAVAILABLE);
    int64_t first_us = clock_monotonic_us() - begun_us;
    for (int i = 0; i < 1000; i++)
        assert_int_equal(get(&text, &version), ERR_UNAVAILABLE); /* the circuit is open */
    int64_t rest_us = clock_monotonic_us() - begun_us - first_us;
    servers_resume_redis(servers);
    assert_in_range(first_us, 40 * MSEC_US, slack(200 * MSEC_US));
    assert_true(rest_us < slack(100 * MSEC_US));
    expect_back();
}

static void a_server_that_hangs_at_connecting_costs_no_more_F28(void **state)
{
    (void)state;
    struct cache *fresh = cache_new(address, NULL);
    uint8_t *data;
    size_t len;

    servers_pause_redis(servers);
    int64_t begun_us = clock_monotonic_us();
    assert_int_equal(cache_get(fresh, KEY, arena, &data, &len), ERR_UNAVAILABLE);
    int64_t took_us = clock_monotonic_us() - begun_us;
    servers_resume_redis(servers);
    assert_true(took_us < slack(200 * MSEC_US));
    cache_free(fresh);
}

static void a_stopped_server_is_done_without_F27(void **state)
{
    (void)state;
    char *text;
    int64_t version;

    assert_int_equal(set(1, "one"), ERR_OK);
    servers_stop_redis(servers);
    int64_t begun_us = clock_monotonic_us();
    for (int i = 0; i < 100; i++)
        assert_int_equal(get(&text, &version), ERR_UNAVAILABLE);
    assert_true(clock_monotonic_us() - begun_us < slack(200 * MSEC_US));
    servers_start_redis(servers);
    raw_connect();
    expect_back();
}

/* A restart between two calls is not noticed at all. */
static void a_restarted_server_is_found_again_at_once_F27(void **state)
{
    (void)state;
    assert_int_equal(set(1, "one"), ERR_OK);
    servers_stop_redis(servers);
    servers_start_redis(servers);
    raw_connect();
    assert_int_equal(set(1, "one"), ERR_OK);
    expect(1, "one");
}

static void a_replica_is_not_written_to_F27(void **state)
{
    (void)state;
    assert_int_equal(set(1, "one"), ERR_OK);
    raw_number("REPLICAOF 127.0.0.1 1");
    assert_int_equal(set(2, "two"), ERR_UNAVAILABLE);
    raw_number("REPLICAOF NO ONE");
    expect_back();
}

static void a_password_is_needed_where_one_is_set(void **state)
{
    (void)state;
    struct cache *right = cache_new(address, "pass"), *wrong = cache_new(address, "word");
    uint8_t *data;
    size_t len;

    raw_number("CONFIG SET requirepass pass");
    assert_int_equal(cache_get(right, "none", arena, &data, &len), ERR_NOT_FOUND);
    assert_int_equal(cache_get(wrong, "none", arena, &data, &len), ERR_UNAVAILABLE);
    struct cache *without = cache_new(address, NULL);
    assert_int_equal(cache_get(without, "none", arena, &data, &len), ERR_UNAVAILABLE);
    raw_number("AUTH pass");
    raw_number("CONFIG SET requirepass %s", "");
    cache_free(right);
    cache_free(wrong);
    cache_free(without);
}

static void write_file(const char *path, const char *text)
{
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    assert_true(fputs(text, out) >= 0);
    assert_int_equal(fclose(out), 0);
}

/* An equal text that is not the setting's has no file. */
static void a_changed_password_is_read_from_its_file_F56(void **state)
{
    (void)state;
    const char setting[] = "pass", other[] = "pass";
    char folder[FOLDER_MAX], path[FOLDER_MAX + 16];
    uint8_t *data;
    size_t len;

    folder_make(folder, "daybook-cache");
    snprintf(path, sizeof path, "%s/password", folder);
    write_file(path, "word\n");
    reread_watch("REDIS_PASSWORD", setting, path);
    struct cache *watched = cache_new(address, setting), *fixed = cache_new(address, other);
    raw_number("CONFIG SET requirepass word");
    assert_int_equal(cache_get(watched, "none", arena, &data, &len), ERR_NOT_FOUND);
    assert_int_equal(cache_get(fixed, "none", arena, &data, &len), ERR_UNAVAILABLE);
    raw_number("AUTH word");
    raw_number("CONFIG SET requirepass %s", "");
    cache_free(watched);
    cache_free(fixed);
    reread_stop();
    folder_remove(folder);
}

static void refuses_malformed_addresses(void **state)
{
    (void)state;
    static const char *const bad[] = { "",       "host",       "host:", ":1",
                                       "host:0", "host:65536", "unix:", "host:6379x" };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (cache_new(bad[i], NULL))
            fail_msg("%s was taken", bad[i]);
    struct cache *c = cache_new("[::1]:6379", NULL);
    assert_non_null(c);
    cache_free(c);
}

static void serves_over_tcp(void **state)
{
    (void)state;
    char tcp[64];
    uint8_t *data;
    size_t len;

    snprintf(tcp, sizeof tcp, "127.0.0.1:%d", servers_redis_port(servers));
    struct cache *c = cache_new(tcp, NULL);
    assert_int_equal(cache_set_versioned(c, KEY, 1, "tcp", 3, TTL_MS), ERR_OK);
    assert_int_equal(cache_get(c, KEY, arena, &data, &len), ERR_OK);
    assert_memory_equal(data, "tcp", 3);
    cache_free(c);
}

static int set_up(void **state)
{
    (void)state;
    raw_number("FLUSHALL");
    arena_reset(arena);
    cache = cache_new(address, NULL);
    return cache ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    cache_free(cache);
    return 0;
}

static int start_servers(void **state)
{
    (void)state;
    servers = servers_start_with(&(struct servers_options){ .redis = true, .redis_tcp = true });
    snprintf(address, sizeof address, "unix:%s", servers_redis_path(servers));
    arena = arena_new(4 * MIB);
    raw_connect();
    return 0;
}

static int stop_servers(void **state)
{
    (void)state;
    redisFree(raw);
    arena_free(arena);
    servers_stop(servers);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(keeps_values_with_their_versions),
        TEST(an_older_version_never_covers_a_newer_one_F31),
        TEST(values_of_others_are_deleted_not_shown_F30),
        TEST(a_flushed_server_is_told_the_script_again_F29),
        TEST(a_full_server_refuses_writes_only_F29),
        TEST(a_hung_server_costs_its_budget_once_F28),
        TEST(a_server_that_hangs_at_connecting_costs_no_more_F28),
        TEST(a_stopped_server_is_done_without_F27),
        TEST(a_restarted_server_is_found_again_at_once_F27),
        TEST(a_replica_is_not_written_to_F27),
        TEST(a_password_is_needed_where_one_is_set),
        TEST(a_changed_password_is_read_from_its_file_F56),
        TEST(refuses_malformed_addresses),
        TEST(serves_over_tcp),
    };
    return cmocka_run_group_tests(tests, start_servers, stop_servers);
}
