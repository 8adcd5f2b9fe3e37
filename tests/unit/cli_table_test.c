/* Columns that line up on a terminal and cannot steer it; gauges read from a Prometheus page; ids
 * that stand in a file twice. */
#include "common/base.h"

#include <setjmp.h>
#include <cmocka.h>

#include "cli/admin_ask.h"
#include "cli/seen.h"
#include "cli/table.h"

static void widths_are_those_of_a_terminal(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t want;
    } cases[] = {
        { "", 0 },         { "abc", 3 },
        { "嘉兴", 4 },     { "a嘉b", 4 },
        { "ｆｕｌｌ", 8 }, { "e\xcc\x81", 1 },
        { "é", 1 },        { "한국", 4 },
        { "\xff\xfe", 2 }, { "\xf0\x9f\x98\x80", 2 },
        { "（）", 4 },     { "→", 1 },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (text_width(cases[i].text) != cases[i].want)
            fail_msg("%s: %zu, want %zu", cases[i].text, text_width(cases[i].text), cases[i].want);
}

/* F62 */
static void nothing_steers_the_terminal(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } cases[] = {
        { "plain 嘉兴", "plain 嘉兴" },
        { "\x1b[31mred\x1b[0m", "?[31mred?[0m" },
        { "a\tb\nc\rd\x7f", "a?b?c?d?" },
        { "\xc2\x9b"
          "31m",
          "?31m" }, /* CSI as one character */
        { "not\xffutf8", "not?utf8" },
    };
    struct arena *a = arena_new(MIB);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_string_equal(text_plain(a, cases[i].text), cases[i].want);
    arena_free(a);
}

static void columns_line_up(void **state)
{
    (void)state;
    static const char *const headers[] = { "NAME", ">N", "LAST", NULL };
    static const char *const rows[][3] = { { "嘉兴", "7", "x" }, { "abcdef", "1234", NULL } };
    char *got = NULL;
    size_t len = 0;
    struct arena *a = arena_new(MIB);
    FILE *f = open_memstream(&got, &len);
    struct table *t = table_new(a, headers);
    assert_non_null(t);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_true(table_add(t, rows[i]));
    table_print(t, f);
    (void)fclose(f);
    assert_string_equal(got, "NAME       N  LAST\n"
                             "嘉兴       7  x\n"
                             "abcdef  1234  -\n");
    free(got);
    arena_free(a);
}

static void gauges_are_read(void **state)
{
    (void)state;
    static const char page[] = "# HELP daybook_lag Lag.\n"
                               "# TYPE daybook_lag gauge\n"
                               "daybook_lag{consumer=\"a\"} 3\n"
                               "daybook_lag{consumer=\"b\"} 4.5\n"
                               "daybook_lag_seconds 9\n"
                               "daybook_up 1\n"
                               "daybook_bad x\n";
    double v = -1;
    assert_true(admin_metric(page, "daybook_lag", NULL, &v));
    assert_true(v == 7.5);
    assert_true(admin_metric(page, "daybook_lag", "consumer=\"b\"", &v));
    assert_true(v == 4.5);
    assert_true(admin_metric(page, "daybook_up", NULL, &v));
    assert_true(v == 1);
    v = -1;
    assert_false(admin_metric(page, "daybook_u", NULL, &v));
    assert_false(admin_metric(page, "daybook_bad", NULL, &v));
    assert_false(admin_metric("", "daybook_up", NULL, &v));
    assert_true(v == -1);
}

static void ids_are_seen_again(void **state)
{
    (void)state;
    enum { N = 20000 };
    struct seen *s = seen_new();
    char text[20];
    bool full;
    assert_non_null(s);
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < N; i++) {
            snprintf(text, sizeof text, "S-%d", i);
            if (seen_add(s, text, &full) != (round == 0) || full)
                fail_msg("%s, round %d", text, round);
        }
    assert_true(seen_add(s, "", &full));
    assert_false(seen_add(s, "", &full));
    seen_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(widths_are_those_of_a_terminal),
        cmocka_unit_test(nothing_steers_the_terminal),
        cmocka_unit_test(columns_line_up),
        cmocka_unit_test(gauges_are_read),
        cmocka_unit_test(ids_are_seen_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
