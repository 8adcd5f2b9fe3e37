/* Identifiers: layout, order, text. */
#include "common/base.h"

#include <pthread.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/clock.h"
#include "common/id.h"

static void new_ids_are_uuid_v7_of_now(void **state)
{
    (void)state;
    int64_t before_ms = clock_wall_us() / 1000;
    struct id id = id_new();
    int64_t ms = 0;
    for (int i = 0; i < 6; i++)
        ms = ms << 8 | id.b[i];
    assert_int_equal(id.b[6] >> 4, 7);
    assert_int_equal(id.b[8] >> 6, 2);
    assert_in_range(ms, before_ms, before_ms + 60000);
    assert_false(id_is_nil(id));
}

static void ids_rise_strictly(void **state)
{
    (void)state;
    struct id last = id_new();
    for (int i = 0; i < 100000; i++) {
        struct id id = id_new();
        if (id_compare(last, id) >= 0)
            fail_msg("the %dth id does not rise", i);
        assert_int_equal(id.b[6] >> 4, 7);
        assert_int_equal(id.b[8] >> 6, 2);
        last = id;
    }
}

#define MANY 20000
static struct id made[4][MANY];

static void *make_many(void *arg)
{
    struct id *out = arg;
    for (int i = 0; i < MANY; i++)
        out[i] = id_new();
    return NULL;
}

static int by_value(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct id));
}

static void threads_never_get_the_same(void **state)
{
    (void)state;
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, make_many, made[i]), 0);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    struct id *all = made[0];
    qsort(all, 4 * (size_t)MANY, sizeof(*all), by_value);
    for (size_t i = 1; i < 4 * (size_t)MANY; i++)
        assert_false(id_equal(all[i - 1], all[i]));
}

static void derived_ids_depend_on_their_parts_only(void **state)
{
    (void)state;
    struct id a = id_derived("visit", "42", NULL);
    assert_true(id_equal(a, id_derived("visit", "42", NULL)));
    assert_false(id_equal(a, id_derived("visit4", "2", NULL)));
    assert_false(id_equal(a, id_derived("visit42", NULL)));
    assert_false(id_equal(a, id_derived("visit", "42", "", NULL)));
    assert_int_equal(a.b[6] >> 4, 8);
    assert_int_equal(a.b[8] >> 6, 2);
}

/* A change of the derivation would make every reaction's row twice after an upgrade. */
static void derived_ids_never_change_between_releases(void **state)
{
    (void)state;
    char text[ID_TEXT_MAX];
    assert_string_equal(id_text(id_derived("visit", "42", NULL), text),
                        "241f3dc1-66a5-83d0-8ed9-214075e0d211");
}

static void texts(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool ok;
    } cases[] = {
        { "0190a6b5-3c4d-7e8f-9a0b-1c2d3e4f5061", true },
        { "0190A6B5-3C4D-7E8F-9A0B-1C2D3E4F5061", true },
        { "00000000-0000-0000-0000-000000000000", true },
        { "0190a6b53c4d7e8f9a0b1c2d3e4f5061", false },
        { "{0190a6b5-3c4d-7e8f-9a0b-1c2d3e4f5061}", false },
        { "0190a6b5-3c4d-7e8f-9a0b-1c2d3e4f506", false },
        { "0190a6b5-3c4d-7e8f-9a0b-1c2d3e4f50611", false },
        { "0190a6b5-3c4d-7e8f-9a0b-1c2d3e4f506g", false },
        { "0190a6b5_3c4d-7e8f-9a0b-1c2d3e4f5061", false },
        { " 0190a6b5-3c4d-7e8f-9a0b-1c2d3e4f5061", false },
        { "0190a6b5-3c4d-7e8f-9a0b-1c2d3e4f5061 ", false },
        { "0", false },
        { "", false },
        { NULL, false },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char back[ID_TEXT_MAX];
        struct id id;
        bool ok = id_parse(cases[i].text, &id);
        if (ok != cases[i].ok)
            fail_msg("%s: %d", cases[i].text ? cases[i].text : "NULL", ok);
        if (ok)
            assert_int_equal(strcasecmp(id_text(id, back), cases[i].text), 0);
    }
}

static void text_round_trips(void **state)
{
    (void)state;
    for (int i = 0; i < 1000; i++) {
        char text[ID_TEXT_MAX];
        struct id id = id_new(), back;
        assert_true(id_parse(id_text(id, text), &back));
        assert_true(id_equal(id, back));
        assert_int_equal(id_hash(id), id_hash(back));
    }
}

static void nil_is_only_all_zero(void **state)
{
    (void)state;
    struct id id = { { 0 } };
    assert_true(id_is_nil(id));
    id.b[15] = 1;
    assert_false(id_is_nil(id));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(new_ids_are_uuid_v7_of_now),
        cmocka_unit_test(ids_rise_strictly),
        cmocka_unit_test(threads_never_get_the_same),
        cmocka_unit_test(derived_ids_depend_on_their_parts_only),
        cmocka_unit_test(derived_ids_never_change_between_releases),
        cmocka_unit_test(texts),
        cmocka_unit_test(text_round_trips),
        cmocka_unit_test(nil_is_only_all_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
