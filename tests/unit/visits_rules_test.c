/*
 * visits_rules_test.c - the life of a visit, pair by pair, and the judgements on places and times.
 */
#include "services/visits/visit_rules.h"

#include <setjmp.h>
#include <cmocka.h>

#include "daybook/visits/v1/visits.pb-c.h"

#define MODE(name) DAYBOOK__VISITS__V1__VISIT_MODE__VISIT_MODE_##name
#define STATE(name) DAYBOOK__VISITS__V1__VISIT_STATE__VISIT_STATE_##name
#define ACTIONS 8

/* Rows: states in proto order; columns: actions in enum order; 0 = refused. */
static const int expected[10][ACTIONS] = {
    [STATE(UNSPECIFIED)] = { 0 },
    [STATE(REQUESTED)] = { STATE(APPROVED), STATE(REJECTED), STATE(CANCELLED), STATE(CHECKED_IN) },
    [STATE(APPROVED)] = { 0, 0, STATE(CANCELLED), STATE(CHECKED_IN) },
    [STATE(REJECTED)] = { 0, 0, 0, STATE(CHECKED_IN) },
    [STATE(CANCELLED)] = { 0 },
    [STATE(CHECKED_IN)] = { 0, 0, 0, 0, STATE(ENDED) },
    [STATE(ENDED)] = { 0, 0, 0, 0, 0, STATE(REPORTED) },
    [STATE(REPORTED)] = { 0, 0, 0, 0, 0, 0, STATE(CLOSED), STATE(RETURNED) },
    [STATE(RETURNED)] = { 0, 0, 0, 0, 0, STATE(REPORTED) },
    [STATE(CLOSED)] = { 0 },
};

static void every_pair_of_state_and_action_is_decided(void **state)
{
    (void)state;
    for (int s = 0; s < 10; s++)
        for (int a = 0; a < ACTIONS; a++)
            if (visit_rules_next(s, (enum visit_action)a) != expected[s][a])
                fail_msg("%s on %s: got %d", visit_rules_action_name((enum visit_action)a),
                         visit_rules_state_name(s), visit_rules_next(s, (enum visit_action)a));
}

static void only_an_approved_visit_is_registered_VIS_22(void **state)
{
    (void)state;
    for (int s = 0; s < 10; s++) {
        assert_int_equal(visit_rules_is_unregistered(s, MODE(IN_PERSON), true),
                         s != STATE(APPROVED));
        assert_true(visit_rules_is_unregistered(s, MODE(IN_PERSON), false)); /* CON-04 */
        assert_false(visit_rules_is_unregistered(s, MODE(PHONE), false));    /* CON-07 */
        assert_false(visit_rules_is_unregistered(s, MODE(VIDEO), false));
    }
}

static void a_visit_has_its_local_day_and_its_window_CON_23(void **state)
{
    static const struct {
        const char *label;
        double starts_h, ends_h, now_h; /* from a local midnight on; the window is 3 hours */
        bool want;
    } cases[] = {
        { "as the day begins", 14, 15, 0, true },
        { "the last second of it", 14, 15, 23.999, true },
        { "a second before it", 14, 15, -0.001, false },
        { "the next day", 14, 15, 24, false },
        { "before midnight, within the window", 1, 2, -2, true },
        { "before midnight, before the window", 1, 2, -2.001, false },
        { "after midnight, not over", 23, 25, 25, true },
        { "after midnight, over", 23, 25, 25.001, false },
    };
    const struct tz *tz = tz_find("Asia/Shanghai");
    const int64_t midnight_us = tz_instant(tz, (struct date){ 2026, 11, 17 }, 0);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (visit_rules_is_its_day(tz, midnight_us + (int64_t)(cases[i].starts_h * HOUR_US),
                                   midnight_us + (int64_t)(cases[i].ends_h * HOUR_US), 3 * HOUR_US,
                                   midnight_us + (int64_t)(cases[i].now_h * HOUR_US)) !=
            cases[i].want)
            fail_msg("%s: want %d", cases[i].label, cases[i].want);
}

static void a_refusal_names_the_states_that_would_do(void **state)
{
    char text[128];

    (void)state;
    visit_rules_allowed_states(VISIT_ACTION_REPORT, text, sizeof(text));
    assert_string_equal(text, "ended, returned");
    assert_string_equal(visit_rules_state_name(99), "unknown");
}

static void distances_agree_with_published_ones(void **state)
{
    static const struct {
        const char *label;
        double lat1, lon1, lat2, lon2, want_km, within_km;
    } cases[] = {
        { "Beijing to Shanghai", 39.9075, 116.3972, 31.2222, 121.4581, 1068.26, 0.5 },
        { "same point", 31.2, 121.4, 31.2, 121.4, 0, 1e-9 },
        { "antipodes", 0, 0, 0, 180, 20015.1, 1 },
        { "over the date line", 0, 179.5, 0, -179.5, 111.19, 0.1 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        double km =
            visit_rules_distance_m(cases[i].lat1, cases[i].lon1, cases[i].lat2, cases[i].lon2) /
            1000;
        if (km < cases[i].want_km - cases[i].within_km ||
            km > cases[i].want_km + cases[i].within_km)
            fail_msg("%s: %f km", cases[i].label, km);
    }
}

static void uncertainty_of_the_device_speaks_for_the_visitor(void **state)
{
    (void)state;
    assert_false(visit_rules_is_far(500, 0, 500));
    assert_true(visit_rules_is_far(501, 0, 500));
    assert_false(visit_rules_is_far(520, 20, 500));
    assert_true(visit_rules_is_far(520, -100, 500));
}

/* The days around Dragon Boat 2026: Friday 19 June is off. */
static void a_reminder_comes_on_a_working_day_TMR_08(void **state)
{
    static const struct calendar_day days[] = { { { 2026, 6, 19 }, true, "Dragon Boat" } };
    const struct calendar c = {
        .tz = tz_find("Asia/Shanghai"), .week_mask = 0x1f, .days = days, .ndays = ARRAY_LEN(days)
    };
    const struct calendar never = { .tz = c.tz };
    static const struct {
        const char *label;
        const struct date visit, want;
        int days_before, want_minute;
    } cases[] = {
        { "the day before", { 2026, 6, 18 }, { 2026, 6, 17 }, 1, 845 },
        { "over a weekend", { 2026, 6, 15 }, { 2026, 6, 12 }, 1, 845 },
        { "over a holiday and a weekend", { 2026, 6, 22 }, { 2026, 6, 18 }, 1, 845 },
        { "three days", { 2026, 6, 18 }, { 2026, 6, 15 }, 3, 845 },
        { "none: when to leave", { 2026, 6, 22 }, { 2026, 6, 22 }, 0, 815 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t got = visit_rules_remind_us(&c, tz_instant(c.tz, cases[i].visit, 845),
                                            cases[i].days_before, 30 * MINUTE_US);
        if (got != tz_instant(c.tz, cases[i].want, cases[i].want_minute))
            fail_msg("%s", cases[i].label);
    }
    int64_t monday = tz_instant(c.tz, (struct date){ 2026, 6, 15 }, 845);
    assert_int_equal(visit_rules_remind_us(&never, monday, 1, 0), monday - DAY_US);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pair_of_state_and_action_is_decided),
        cmocka_unit_test(only_an_approved_visit_is_registered_VIS_22),
        cmocka_unit_test(a_visit_has_its_local_day_and_its_window_CON_23),
        cmocka_unit_test(a_refusal_names_the_states_that_would_do),
        cmocka_unit_test(distances_agree_with_published_ones),
        cmocka_unit_test(uncertainty_of_the_device_speaks_for_the_visitor),
        cmocka_unit_test(a_reminder_comes_on_a_working_day_TMR_08),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
