/* Page sizes and tokens: protocols H.4. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base.h"
#include "common/clock.h"
#include "common/page.h"

static struct arena *arena;
static const uint8_t key_a[32] = { 1 }, key_b[32] = { 2 };

/* The wall clock as page.c sees it: the linker wraps it (mk/tests.mk). */
static int64_t shift_us;
int64_t __wrap_clock_wall_us(void);
int64_t __wrap_clock_wall_us(void)
{
    return INT64_C(1767225600000000) + shift_us;
}

static int set_up(void **state)
{
    (void)state;
    shift_us = 0;
    arena = arena_new(4 * MIB);
    page_set_key(key_a);
    return arena ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

static char *token_of(const char *filter, const char *const *keys)
{
    char *token = NULL;
    assert_int_equal(page_token_write(filter, keys, arena, &token), ERR_OK);
    assert_non_null(token);
    return token;
}

static void sizes_have_a_default_and_a_maximum(void **state)
{
    (void)state;
    static const struct {
        int32_t wanted, got;
    } cases[] = {
        { 0, PAGE_DEFAULT }, { 1, 1 }, { 1000, 1000 }, { 1001, 1000 }, { INT32_MAX, 1000 }
    };
    int32_t size = -7;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(page_size(cases[i].wanted, &size), ERR_OK);
        assert_int_equal(size, cases[i].got);
    }
    size = -7;
    assert_int_equal(page_size(-1, &size), ERR_INVALID_ARGUMENT);
    assert_int_equal(page_size(INT32_MIN, &size), ERR_INVALID_ARGUMENT);
    assert_int_equal(size, -7);
}

static void a_token_gives_its_keys_back(void **state)
{
    (void)state;
    static const char *const lists[][PAGE_KEYS_MAX + 1] = {
        { NULL },
        { "a", NULL },
        { "", "", NULL },
        { "2026-01-02T03:04:05Z", "0190", "\xe5\xbc\xa0", "4", NULL },
    };
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        const char *keys[PAGE_KEYS_MAX] = { "x", "x", "x", "x" };
        char *token = token_of("filter", lists[i]);
        assert_int_equal(
            strspn(token, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"),
            strlen(token));
        assert_int_equal(page_token_read(token, "filter", arena, keys), ERR_OK);
        bool ended = false;
        for (size_t j = 0; j < PAGE_KEYS_MAX; j++) {
            ended = ended || !lists[i][j];
            if (ended)
                assert_null(keys[j]);
            else
                assert_string_equal(keys[j], lists[i][j]);
        }
    }
}

static void no_token_is_the_first_page(void **state)
{
    (void)state;
    const char *keys[PAGE_KEYS_MAX] = { "x", "x", "x", "x" };
    assert_int_equal(page_token_read("", "filter", arena, keys), ERR_OK);
    for (size_t j = 0; j < PAGE_KEYS_MAX; j++)
        assert_null(keys[j]);
    keys[0] = "x";
    assert_int_equal(page_token_read(NULL, "filter", arena, keys), ERR_OK);
    assert_null(keys[0]);
}

static void a_token_of_another_list_is_refused(void **state)
{
    (void)state;
    const char *keys[PAGE_KEYS_MAX] = { "x" };
    char *token = token_of("filter", (const char *const[]){ "a", NULL });
    assert_int_equal(page_token_read(token, "other", arena, keys), ERR_INVALID_ARGUMENT);
    assert_int_equal(page_token_read(token, "", arena, keys), ERR_INVALID_ARGUMENT);
    page_set_key(key_b);
    assert_int_equal(page_token_read(token, "filter", arena, keys), ERR_INVALID_ARGUMENT);
    assert_string_equal(keys[0], "x"); /* set on success only */
}

static void every_changed_character_is_noticed(void **state)
{
    (void)state;
    const char *keys[PAGE_KEYS_MAX];
    char *token = token_of("filter", (const char *const[]){ "key", "other", NULL });
    size_t len = strlen(token);
    for (size_t i = 0; i + 1 < len; i++) { /* the last one may hold bits that count for nothing */
        char was = token[i];
        token[i] = was == 'A' ? 'B' : 'A';
        assert_int_equal(page_token_read(token, "filter", arena, keys), ERR_INVALID_ARGUMENT);
        token[i] = was;
    }
    for (size_t n = 1; n < len; n++) {
        char *cut = arena_strndup(arena, token, n);
        assert_int_equal(page_token_read(cut, "filter", arena, keys), ERR_INVALID_ARGUMENT);
    }
    assert_int_equal(page_token_read(token, "filter", arena, keys), ERR_OK);
}

static void what_is_no_token_is_refused(void **state)
{
    (void)state;
    const char *keys[PAGE_KEYS_MAX];
    static const char *const texts[] = { "x", "====", "not base64!", "AAAA", "\xff\xff" };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        assert_int_equal(page_token_read(texts[i], "filter", arena, keys), ERR_INVALID_ARGUMENT);
    char *endless = arena_alloc(arena, 100001);
    memset(endless, 'A', 100000);
    assert_int_equal(page_token_read(endless, "filter", arena, keys), ERR_INVALID_ARGUMENT);
    endless[8000] = 0;
    assert_int_equal(page_token_read(endless, "filter", arena, keys), ERR_INVALID_ARGUMENT);
}

static void a_token_lives_three_days(void **state)
{
    (void)state;
    static const struct {
        const char *label;
        int64_t shift_us;
        enum err want;
    } cases[] = {
        { "at once", 0, ERR_OK },
        { "exactly three days", 3 * DAY_US, ERR_OK },
        { "a second more", 3 * DAY_US + SECOND_US, ERR_INVALID_ARGUMENT },
        { "a year later", 365 * DAY_US, ERR_INVALID_ARGUMENT },
        { "another daemon's clock is late", -1 * MINUTE_US, ERR_OK },
        { "from the future", -1 * DAY_US, ERR_INVALID_ARGUMENT },
    };
    const char *keys[PAGE_KEYS_MAX];
    char *token = token_of("filter", (const char *const[]){ "a", NULL });
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        shift_us = cases[i].shift_us;
        if (page_token_read(token, "filter", arena, keys) != cases[i].want)
            fail_msg("%s: want %s", cases[i].label, err_name(cases[i].want));
    }
}

static void keys_too_long_for_a_token_are_an_error(void **state)
{
    (void)state;
    char *token = NULL, *longest = arena_alloc(arena, 70000);
    memset(longest, 'k', 4000);
    assert_int_equal(page_token_write("f", (const char *const[]){ longest, NULL }, arena, &token),
                     ERR_OK);
    const char *keys[PAGE_KEYS_MAX];
    assert_int_equal(page_token_read(token, "f", arena, keys), ERR_OK);
    assert_string_equal(keys[0], longest);
    memset(longest, 'k', 69999);
    assert_int_equal(page_token_write("f", (const char *const[]){ longest, NULL }, arena, &token),
                     ERR_RESOURCE_EXHAUSTED);
    struct arena *small = arena_new(16);
    assert_int_equal(page_token_write("f", (const char *const[]){ "a", NULL }, small, &token),
                     ERR_RESOURCE_EXHAUSTED);
    arena_free(small);
}

/* The last one: the other key stays. */
static void a_token_of_the_other_key_is_taken_F56(void **state)
{
    (void)state;
    const char *keys[PAGE_KEYS_MAX];
    char *token = token_of("filter", (const char *const[]){ "key", NULL });
    page_set_key(key_b);
    assert_int_equal(page_token_read(token, "filter", arena, keys), ERR_INVALID_ARGUMENT);
    page_set_other_key(key_a);
    assert_int_equal(page_token_read(token, "filter", arena, keys), ERR_OK);
    assert_string_equal(keys[0], "key");
    token = token_of("filter", (const char *const[]){ "new", NULL });
    assert_int_equal(page_token_read(token, "filter", arena, keys), ERR_OK);
    assert_string_equal(keys[0], "new");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(sizes_have_a_default_and_a_maximum, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_token_gives_its_keys_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_token_is_the_first_page, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_token_of_another_list_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_changed_character_is_noticed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_no_token_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_token_lives_three_days, set_up, tear_down),
        cmocka_unit_test_setup_teardown(keys_too_long_for_a_token_are_an_error, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_token_of_the_other_key_is_taken_F56, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
