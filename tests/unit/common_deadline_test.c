/*
 * Until when something must be done, by rules that change meanwhile (CON-10, REM-09).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/clock.h"
#include "common/deadline.h"
#include "common/directory_build.h"

#define HOURS(n) ((int64_t)(n)*HOUR_US)

static const struct id company = { .b = { 1, [6] = 0x70, [8] = 0x80 } };

/* Friday, 2026-01-09 16:00 in UTC; working hours are 09:00 to 18:00. */
static const int64_t friday_us = INT64_C(1767974400) * SECOND_US;

struct change {
    const char *key;
    int64_t at_us; /* after friday_us */
    const char *text;
};

static const struct directory *rule_book(const struct change *changes, size_t n)
{
    struct directory_builder *b = directory_builder_new();
    assert_non_null(b);
    directory_builder_add_tenant(b, company, "Company", "UTC", "CNY");
    for (size_t i = 0; i < n; i++) {
        struct policy_setting setting = { .key = changes[i].key,
                                          .effective_from_us = friday_us + changes[i].at_us,
                                          .value = changes[i].text };
        directory_builder_set_policy(b, company, &setting);
    }
    return directory_builder_finish(b);
}

static void hours_count_as_the_clock_says(void **state)
{
    (void)state;
    static const struct {
        const char *clock, *hours;
        int64_t due_us;
    } cases[] = {
        { "absolute", "24", HOURS(24) },
        { "business", "2", HOURS(2) },           /* Friday 18:00: the very end still counts */
        { "business", "3", HOURS(2 * 24 + 18) }, /* Monday 10:00 */
        { "business", "11", HOURS(3 * 24 + 2) }, /* Monday 18:00 */
        { "business", "12", HOURS(3 * 24 + 18) },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct change set[] = { { "hour_clock", -1, cases[i].clock },
                                      { "question_feedback_hours", -1, cases[i].hours } };
        CLEANUP(directory_releasep) const struct directory *d = rule_book(set, ARRAY_LEN(set));
        int64_t due_us = deadline_of(d, company, (struct id){ { 0 } }, "question_feedback_hours",
                                     friday_us, friday_us + HOURS(200));
        assert_int_equal(due_us - friday_us, cases[i].due_us);
    }
}

static void days_have_24_hours_by_each_clock(void **state)
{
    (void)state;
    const struct change set[] = { { "hour_clock", -1, "business" },
                                  { "visit_report_final_days", -1, "3" } };
    CLEANUP(directory_releasep) const struct directory *d = rule_book(set, ARRAY_LEN(set));
    assert_int_equal(deadline_of(d, company, (struct id){ { 0 } }, "visit_report_final_days",
                                 friday_us, friday_us),
                     friday_us + HOURS(72));
}

static void a_rule_that_changes_while_the_time_runs_moves_the_deadline(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to;
        int64_t changed_us, judged_us, due_us;
    } cases[] = {
        { "24", "48", HOURS(10), HOURS(30), HOURS(48) },
        { "24", "48", HOURS(10), HOURS(5), HOURS(24) },  /* met before: nothing to move */
        { "24", "48", HOURS(25), HOURS(30), HOURS(24) }, /* it was missed by then */
        { "48", "24", HOURS(10), HOURS(30), HOURS(24) },
        { "48", "24", HOURS(40), HOURS(30), HOURS(48) },
        { "48", "24", HOURS(40), HOURS(45), HOURS(24) },
        { "48", "24", HOURS(48), HOURS(60), HOURS(24) }, /* with the very end: as it stands then */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct change set[] = {
            { "question_feedback_hours", -1, cases[i].from },
            { "question_feedback_hours", cases[i].changed_us, cases[i].to },
        };
        CLEANUP(directory_releasep) const struct directory *d = rule_book(set, ARRAY_LEN(set));
        int64_t due_us = deadline_of(d, company, (struct id){ { 0 } }, "question_feedback_hours",
                                     friday_us, friday_us + cases[i].judged_us);
        assert_int_equal(due_us - friday_us, cases[i].due_us);
    }
}

/* What lies between counts too: REM-09 moves a pending duty at each change, and no overdue one. */
static void a_rule_that_changes_there_and_back_is_followed_step_by_step(void **state)
{
    (void)state;
    static const struct {
        const char *first, *then, *back;
        int64_t then_us, back_us, judged_us, due_us;
    } cases[] = {
        { "24", "12", "24", HOURS(13), HOURS(14), HOURS(20), HOURS(12) }, /* late at hour 13 */
        { "24", "12", "24", HOURS(13), HOURS(14), HOURS(13) - 1, HOURS(24) },
        { "24", "12", "24", HOURS(5), HOURS(6), HOURS(20), HOURS(24) },
        { "24", "12", "24", HOURS(5), HOURS(13), HOURS(20), HOURS(12) },
        { "24", "48", "24", HOURS(10), HOURS(30), HOURS(60), HOURS(24) }, /* late at hour 30 */
        { "24", "48", "36", HOURS(10), HOURS(30), HOURS(60), HOURS(36) },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct change set[] = {
            { "question_feedback_hours", -1, cases[i].first },
            { "question_feedback_hours", cases[i].then_us, cases[i].then },
            { "question_feedback_hours", cases[i].back_us, cases[i].back },
        };
        CLEANUP(directory_releasep) const struct directory *d = rule_book(set, ARRAY_LEN(set));
        int64_t due_us = deadline_of(d, company, (struct id){ { 0 } }, "question_feedback_hours",
                                     friday_us, friday_us + cases[i].judged_us);
        if (due_us - friday_us != cases[i].due_us)
            fail_msg("case %zu: due after %.2f hours", i, (double)(due_us - friday_us) / HOUR_US);
    }
}

/* Of 2 working hours from Friday 16:00: 18:00, on a day that ends earlier Monday 10:00. */
static void the_clock_and_the_working_hours_change_as_rules_do(void **state)
{
    (void)state;
    static const struct change closed_early[] = {
        { "hour_clock", -1, "business" },       { "question_feedback_hours", -1, "2" },
        { "workday_end", HOURS(1), "17:00" },   { "workday_end", HOURS(1) + 1, "18:00" },
        { "hour_clock", HOURS(3), "absolute" }, /* it was missed by then */
    };
    static const struct {
        size_t nchanges;
        int64_t due_us;
    } cases[] = { { 2, HOURS(2) }, { 3, HOURS(2 * 24 + 18) }, { 4, HOURS(2) }, { 5, HOURS(2) } };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP(directory_releasep)
        const struct directory *d = rule_book(closed_early, cases[i].nchanges);
        int64_t due_us = deadline_of(d, company, (struct id){ { 0 } }, "question_feedback_hours",
                                     friday_us, friday_us + HOURS(200));
        assert_int_equal(due_us - friday_us, cases[i].due_us);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hours_count_as_the_clock_says),
        cmocka_unit_test(days_have_24_hours_by_each_clock),
        cmocka_unit_test(a_rule_that_changes_while_the_time_runs_moves_the_deadline),
        cmocka_unit_test(a_rule_that_changes_there_and_back_is_followed_step_by_step),
        cmocka_unit_test(the_clock_and_the_working_hours_change_as_rules_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
