/*
 * Exceptions of a year: which days belong to it, and what an import changes (ORG-12).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "services/directory/workdays_rules.h"

static void a_notice_covers_its_year_and_the_december_before(void **state)
{
    (void)state;
    assert_true(workdays_rules_belongs((struct date){ 2026, 1, 1 }, 2026));
    assert_true(workdays_rules_belongs((struct date){ 2026, 12, 31 }, 2026));
    assert_true(workdays_rules_belongs((struct date){ 2025, 12, 1 }, 2026));
    assert_false(workdays_rules_belongs((struct date){ 2025, 11, 30 }, 2026));
    assert_false(workdays_rules_belongs((struct date){ 2027, 1, 1 }, 2026));
}

static void a_date_that_stands_twice_is_found_in_any_order(void **state)
{
    (void)state;
    struct calendar_day days[] = { { { 2026, 5, 2 }, true, "b" },
                                   { { 2026, 5, 1 }, true, "a" },
                                   { { 2026, 5, 2 }, false, "c" } };
    struct date again;
    assert_false(workdays_rules_sort(days, 3, &again));
    assert_int_equal(date_number(again), date_number((struct date){ 2026, 5, 2 }));
    struct calendar_day good[] = { { { 2026, 5, 2 }, true, "b" }, { { 2025, 12, 31 }, true, "a" } };
    assert_true(workdays_rules_sort(good, 2, &again));
    assert_int_equal(good[0].date.year, 2025);
    assert_true(workdays_rules_sort(NULL, 0, &again));
}

/* One letter a day of May: '.' no entry, 'o' off, 'w' worked, 'O' off under another name. */
static size_t days_of(const char *pattern, struct calendar_day *out)
{
    size_t n = 0;
    for (int8_t i = 0; pattern[i]; i++)
        if (pattern[i] != '.')
            out[n++] = (struct calendar_day){ { 2026, 5, (int8_t)(i + 1) },
                                              pattern[i] != 'w',
                                              pattern[i] == 'O' ? "other" : "name" };
    return n;
}

static void an_import_changes_what_is_new_other_or_gone(void **state)
{
    (void)state;
    static const struct {
        const char *before, *after, *changed; /* 'x' where the day changed */
        size_t stored_changed;
    } cases[] = {
        { "", "", "", 0 },          { "oow", "oow", "...", 0 },       { "...", "oow", "xxx", 3 },
        { "oow", "...", "xxx", 0 }, { "oow", "oww", ".x.", 1 },       { "oow", "oOw", ".x.", 1 },
        { "o.w", ".ow", "xx.", 1 }, { "w...o", "w.o.w", "..x.x", 2 },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct calendar_day before[8], after[8];
        struct date dates[16];
        struct workdays_change change = { .dates = dates };
        size_t nbefore = days_of(cases[i].before, before), nafter = days_of(cases[i].after, after);
        workdays_rules_diff(before, nbefore, after, nafter, &change);
        char got[8] = "";
        for (size_t d = 0; d < strlen(cases[i].changed); d++)
            got[d] = '.';
        for (size_t d = 0; d < change.n; d++)
            got[change.dates[d].day - 1] = 'x';
        if (strcmp(got, cases[i].changed) != 0 || change.stored_changed != cases[i].stored_changed)
            fail_msg("%s -> %s: got %s, %zu stored", cases[i].before, cases[i].after, got,
                     change.stored_changed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_notice_covers_its_year_and_the_december_before),
        cmocka_unit_test(a_date_that_stands_twice_is_found_in_any_order),
        cmocka_unit_test(an_import_changes_what_is_new_other_or_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
