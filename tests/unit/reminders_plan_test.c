/* Due times, steps and recipients of every rule and profile (requirements 4.1, REM-02 to REM-05).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/clock.h"
#include "services/reminders/plan.h"

#define SHANGHAI "Asia/Shanghai"

/* Policies of a test: pairs of key and value; what is not named has its default. */
static struct policy_value policy_of(void *arg, const char *key)
{
    const char *const *pairs = arg;
    const struct policy_def *def = policy_find(key);

    assert_non_null(def);
    for (; pairs && *pairs; pairs += 2)
        if (strcmp(pairs[0], key) == 0)
            return (struct policy_value){ .def = def, .text = pairs[1] };
    return (struct policy_value){ .def = def, .text = def->default_value, .from_default = true };
}

static int64_t instant(const char *text)
{
    int64_t us;
    if (!time_parse(text, &us))
        fail_msg("not a time: %s", text);
    return us;
}

/* 2026-02-16 to 20 off (Spring Festival), 2026-02-14 (a Saturday) worked. */
static const struct calendar_day days[] = {
    { { 2026, 2, 14 }, false, "make-up" },        { { 2026, 2, 16 }, true, "Spring Festival" },
    { { 2026, 2, 17 }, true, "Spring Festival" }, { { 2026, 2, 18 }, true, "Spring Festival" },
    { { 2026, 2, 19 }, true, "Spring Festival" }, { { 2026, 2, 20 }, true, "Spring Festival" },
};
static const int16_t years[] = { 2026 };

static const struct calendar *china(void)
{
    static struct calendar c = { .workday_start_minute = 540,
                                 .workday_end_minute = 1080,
                                 .week_mask = 0x1f,
                                 .days = days,
                                 .ndays = ARRAY_LEN(days),
                                 .years = years,
                                 .nyears = 1 };
    c.tz = tz_find(SHANGHAI);
    return &c;
}

/* "-4h owner; 0 owner+superior; ..." relative to due, or absolute local times for odd offsets. */
static const char *steps_text(const struct plan *plan, char *out, size_t size)
{
    size_t len = 0;
    out[0] = '\0';
    for (size_t i = 0; i < plan->nsteps; i++) {
        int64_t at[PLAN_STEPS_MAX];
        for (size_t k = 0; k < plan->nsteps; k++)
            at[k] = plan->steps[k].at_us;
        static const char kinds[] = "?WDE";
        len += (size_t)snprintf(out + len, size - len, "%s%c%+" PRId64 "m %s", i ? "; " : "",
                                kinds[plan_kind_of(at, plan->nsteps, i, plan->due_us)],
                                (plan->steps[i].at_us - plan->due_us) / MINUTE_US,
                                plan->steps[i].tells);
    }
    return out;
}

struct plan_case {
    const char *label, *rule, *start, *named_due, *known;
    const char *policies[5];
    const char *due, *steps;
};

#define ESC_A_24H                                                                                  \
    "W-240m owner; W-60m owner; D+0m owner+superior; E+1440m supervisor; E+2880m sales_manager"

static void every_rule_has_its_due_time_and_steps(void **state)
{
    (void)state;
    /* clang-format off */
    static const struct plan_case cases[] = {
        { "hours run through the weekend (CON-10)", "TMR-01", "2026-01-09T16:00:00+08:00", 0, 0, { 0 },
          "2026-01-10T16:00:00+08:00", ESC_A_24H },
        { "to the second, at night", "TMR-02", "2026-01-06T23:59:59+08:00", 0, 0, { 0 },
          "2026-01-07T23:59:59+08:00", ESC_A_24H },
        { "visit report", "TMR-03", "2026-01-06T15:00:00+08:00", 0, 0, { 0 },
          "2026-01-07T15:00:00+08:00", ESC_A_24H },
        { "the company gives 8 hours", "TMR-01", "2026-01-06T10:00:00+08:00", 0, 0,
          { "question_feedback_hours", "8" }, "2026-01-06T18:00:00+08:00", ESC_A_24H },
        { "other warnings", "TMR-01", "2026-01-06T10:00:00+08:00", 0, 0,
          { "lead_offsets_24h", "-30m" }, "2026-01-07T10:00:00+08:00",
          "W-30m owner; D+0m owner+superior; E+1440m supervisor; E+2880m sales_manager" },
        { "a warning after the due time chases the owner", "TMR-01", "2026-01-06T10:00:00+08:00", 0, 0,
          { "lead_offsets_24h", "0,2h" }, "2026-01-07T10:00:00+08:00",
          "D+0m owner+superior; E+120m owner; E+1440m supervisor; E+2880m sales_manager" },
        { "hours of work only", "TMR-01", "2026-01-09T16:00:00+08:00", 0, 0,
          { "question_feedback_hours", "4", "hour_clock", "business" },
          "2026-01-12T11:00:00+08:00", ESC_A_24H },
        { "hours of work from the weekend, over a day", "TMR-01", "2026-01-10T16:00:00+08:00", 0, 0,
          { "question_feedback_hours", "12", "hour_clock", "business" },
          "2026-01-13T12:00:00+08:00", ESC_A_24H },
        { "end of the working day", "TMR-04", "2026-01-06T15:00:00+08:00", 0, 0, { 0 },
          "2026-01-06T18:00:00+08:00", "D+0m owner" },
        { "after work: the next working day", "TMR-04", "2026-01-06T18:30:00+08:00", 0, 0, { 0 },
          "2026-01-07T18:00:00+08:00", "D+0m owner" },
        { "before a long holiday: not later than the final limit", "TMR-04",
          "2026-02-14T19:00:00+08:00", 0, 0, { 0 }, "2026-02-16T19:00:00+08:00", "D+0m owner" },
        { "a make-up day is worked", "TMR-04", "2026-02-14T15:00:00+08:00", 0, 0, { 0 },
          "2026-02-14T18:00:00+08:00", "D+0m owner" },
        { "another time of the day", "TMR-04", "2026-01-06T15:00:00+08:00", 0, 0,
          { "visit_record_soft_due", "20:00" }, "2026-01-06T20:00:00+08:00", "D+0m owner" },
        { "that time is over", "TMR-04", "2026-01-06T15:00:00+08:00", 0, 0,
          { "visit_record_soft_due", "09:30" }, "2026-01-07T09:30:00+08:00", "D+0m owner" },
        { "two days of 24 hours, ESC-B", "TMR-05", "2026-01-09T15:00:00+08:00", 0, 0, { 0 },
          "2026-01-11T15:00:00+08:00",
          "W-240m owner; W-60m owner; D+0m owner; E+120m superior; E+1620m supervisor!list" },
        { "a promise with a date", "TMR-42", "2026-01-05T10:00:00+08:00",
          "2026-01-08T15:00:00+08:00", 0, { 0 }, "2026-01-08T15:00:00+08:00",
          "W-1440m owner; W-360m owner; D+0m owner+superior; E+1440m supervisor; "
          "E+2880m sales_manager" },
        { "promised for before nine", "TMR-42", "2026-01-05T10:00:00+08:00",
          "2026-01-08T08:00:00+08:00", "2026-01-05T10:00:00+08:00", { "commitment_warn_hours", "0" },
          "2026-01-08T08:00:00+08:00",
          "D+0m owner+superior; E+1440m supervisor; E+2880m sales_manager" },
        { "promised for today: no warning before it was made", "TMR-42",
          "2026-01-08T10:00:00+08:00", "2026-01-08T15:00:00+08:00", "2026-01-08T10:00:00+08:00",
          { 0 }, "2026-01-08T15:00:00+08:00",
          "D+0m owner+superior; E+1440m supervisor; E+2880m sales_manager" },
        { "a promise without a date (CON-26)", "TMR-43", "2026-01-06T10:00:00+08:00", 0, 0, { 0 },
          "2026-01-07T10:00:00+08:00", ESC_A_24H },
        { "known 22 hours late: one warning is left (A-32)", "TMR-01", "2026-01-06T10:00:00+08:00", 0,
          "2026-01-07T08:00:00+08:00", { 0 }, "2026-01-07T10:00:00+08:00",
          "W-60m owner; D+0m owner+superior; E+1440m supervisor; E+2880m sales_manager" },
        { "known after the due time: due at once", "TMR-01", "2026-01-06T10:00:00+08:00", 0,
          "2026-01-07T11:00:00+08:00", { 0 }, "2026-01-07T10:00:00+08:00",
          "D+60m owner+superior; E+1440m supervisor; E+2880m sales_manager" },
        { "known days late: all that is behind is told as one (REM-08)", "TMR-01",
          "2026-01-06T10:00:00+08:00", 0, "2026-01-09T11:00:00+08:00",
          { "lead_offsets_24h", "-4h,0,1h" }, "2026-01-07T10:00:00+08:00",
          "D+2940m owner+superior+supervisor+sales_manager" },
        { "ESC-C: three quarters of the time, then up the line", "TMR-01",
          "2026-01-06T10:00:00+08:00", 0, 0,
          { "escalation_esc_a",
            "75%:superior,0:supervisor,1wd:sales_manager,3wd:general_manager", "lead_offsets_24h",
            "0" },
          "2026-01-07T10:00:00+08:00",
          "W-360m superior; D+0m owner+supervisor; E+1920m sales_manager; E+7680m general_manager" },
        { "ESC-D: the duty of a superior", "TMR-01", "2026-01-06T10:00:00+08:00", 0, 0,
          { "escalation_esc_a", "0:owner,1wd:superior", "lead_offsets_24h", "-1h" },
          "2026-01-07T10:00:00+08:00", "W-60m owner; D+0m owner; E+1920m superior" },
        { "a profile without a due step gets one", "TMR-01", "2026-01-06T10:00:00+08:00", 0, 0,
          { "escalation_esc_a", "24h:supervisor", "lead_offsets_24h", "-1h" },
          "2026-01-07T10:00:00+08:00", "W-60m owner; D+0m owner; E+1440m supervisor" },
    };
    /* clang-format on */

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct plan_case *c = &cases[i];
        struct plan plan;
        char got[512];
        struct plan_input in = {
            .rule = rule_find(c->rule),
            .start_us = instant(c->start),
            .named_due_us = c->named_due ? instant(c->named_due) : 0,
            .known_us = c->known ? instant(c->known) : instant(c->start),
            .calendar = china(),
            .policy = policy_of,
            .policy_arg = (void *)(uintptr_t)c->policies,
        };
        assert_int_equal(plan_make(&in, &plan), ERR_OK);
        if (plan.due_us != instant(c->due)) {
            char text[TIME_TEXT_MAX];
            fail_msg("%s: due %s", c->label, time_format(plan.due_us, text));
        }
        if (strcmp(steps_text(&plan, got, sizeof(got)), c->steps) != 0)
            fail_msg("%s:\n got %s\nwant %s", c->label, got, c->steps);
    }
}

static void the_due_time_is_explained_with_its_policies(void **state)
{
    struct arena *a = *state;
    struct explain x = { .arena = a };
    struct plan plan;
    struct plan_input in = {
        .rule = rule_find("TMR-01"),
        .start_us = instant("2026-01-09T16:00:00+08:00"),
        .calendar = china(),
        .policy = policy_of,
        .explain = &x,
    };

    assert_int_equal(plan_make(&in, &plan), ERR_OK);
    assert_int_equal(x.n, 3);
    assert_string_equal(x.lines[0], "started 2026-01-09 16:00");
    assert_string_equal(x.lines[1], "plus 24 hours, nights and days off included");
    assert_string_equal(x.lines[2], "due 2026-01-10 16:00");
    assert_int_equal(plan.npolicies, 2);
    assert_string_equal(plan.policies[0].def->key, "question_feedback_hours");
    assert_string_equal(plan.policies[1].def->key, "hour_clock");
}

static void a_promise_without_its_date_is_refused(void **state)
{
    (void)state;
    struct plan plan;
    struct plan_input in = {
        .rule = rule_find("TMR-42"), .start_us = 1, .calendar = china(), .policy = policy_of
    };
    assert_int_equal(plan_make(&in, &plan), ERR_INVALID_ARGUMENT);
}

/* Settings beyond the bounds cost reminders, never the duty or its due step. */
static void what_is_too_much_is_left_out(void **state)
{
    (void)state;
    struct plan plan;
    const char *const many[] = {
        "lead_offsets_24h",
        "-1m,-2m,-3m,-4m,-5m,-6m,-7m,-8m,-9m,-10m,-11m,-12m,-13m,-14m,-15m",
        "escalation_esc_a",
        "1h:supervisor,2h:sales_manager,0:owner,0:supervisor,0:sales_manager,"
        "0:regional_manager,0:general_manager,0:superior",
        NULL,
    };
    struct plan_input in = { .rule = rule_find("TMR-01"),
                             .start_us = 1,
                             .calendar = china(),
                             .policy = policy_of,
                             .policy_arg = (void *)(uintptr_t)many };
    bool due = false;
    assert_int_equal(plan_make(&in, &plan), ERR_OK);
    for (size_t i = 0; i < plan.nsteps; i++)
        due = due || plan.steps[i].at_us == plan.due_us;
    assert_true(due);
    assert_true(plan.nsteps <= PLAN_STEPS_MAX);
}

/* A night shift as a working day: its hours cannot be counted, and must not be counted for ever. */
static void a_working_day_that_ends_before_it_begins_has_no_hours(void **state)
{
    (void)state;
    struct plan plan;
    struct calendar night = *china();
    const char *const business[] = { "hour_clock", "business", NULL };
    struct plan_input in = { .rule = rule_find("TMR-01"),
                             .start_us = instant("2026-01-06T10:00:00+08:00"),
                             .calendar = &night,
                             .policy = policy_of,
                             .policy_arg = (void *)(uintptr_t)business };
    night.workday_start_minute = 22 * 60;
    night.workday_end_minute = 6 * 60;
    assert_int_equal(plan_make(&in, &plan), ERR_OK);
    assert_true(plan.due_us == instant("2026-01-07T10:00:00+08:00"));
}

static void every_rule_has_an_outline(void **state)
{
    (void)state;
    char got[512];

    for (size_t i = 0; i < rules_len; i++) {
        struct plan plan;
        plan_outline(&rules[i], policy_of, NULL, &plan);
        const char *want = strcmp(rules[i].profile, "ESC-0") == 0 ? "D+0m owner"
                           : strcmp(rules[i].profile, "ESC-B") == 0
                               ? "W-240m owner; W-60m owner; D+0m owner; E+120m superior; "
                                 "E+2880m supervisor!list"
                           : rules[i].lead == LEAD_PROMISE
                               ? "W-1440m owner; D+0m owner+superior; E+1440m supervisor; "
                                 "E+2880m sales_manager"
                               : ESC_A_24H;
        assert_string_equal(steps_text(&plan, got, sizeof(got)), want);
    }
}

/* --- recipients ------------------------------------------------------------------------------ */

/* The line of a sample company: rep -> lead -> supervisor -> manager -> general manager. */
static struct dir_employee gm, manager, supervisor, lead, rep;

static void make_line(void)
{
    static struct dir_employee *const line[] = { &rep, &lead, &supervisor, &manager, &gm };
    static const char *const roles[] = { "rep", "team_lead", "supervisor", "sales_manager",
                                         "general_manager" };
    for (size_t i = 0; i < ARRAY_LEN(line); i++) {
        *line[i] = (struct dir_employee){ .roles = { roles[i] }, .active = true };
        line[i]->id.b[15] = (uint8_t)(i + 1);
        line[i]->superior = i + 1 < ARRAY_LEN(line) ? line[i + 1] : NULL;
    }
}

static const char *told(const char *tells, const struct dir_employee *of)
{
    static char text[64];
    struct id out[PLAN_RECIPIENTS_MAX];
    size_t n = plan_recipients(tells, of->id, of, out);

    for (size_t i = 0; i < n; i++)
        text[i] = (char)('0' + out[i].b[15]);
    text[n] = '\0';
    return text;
}

static void tells_the_right_people_once(void **state)
{
    (void)state;
    make_line();
    assert_string_equal(told("owner", &rep), "1");
    assert_string_equal(told("owner+superior", &rep), "12");
    assert_string_equal(told("supervisor", &rep), "3");
    assert_string_equal(told("sales_manager", &rep), "4");
    assert_string_equal(told("superior+team_lead", &rep), "2"); /* the same person once */
    assert_string_equal(told("supervisor", &supervisor), "4");  /* never oneself: the next above */
    assert_string_equal(told("superior", &gm), "");             /* nobody above */
    assert_string_equal(told("owner+supervisor", &gm), "5");
    assert_string_equal(told("legal", &rep), "");

    /* A level that is absent: the next one above (ESC-A). */
    lead.superior = &manager;
    assert_string_equal(told("supervisor", &rep), "4");
    manager.superior = NULL;
    assert_string_equal(told("general_manager", &rep), "");

    /* Without a single message (ESC-B): into the list only. */
    make_line();
    assert_string_equal(told("superior+supervisor!list", &rep), "2");
    assert_string_equal(told("supervisor!list", &rep), "");
    struct id listed[PLAN_RECIPIENTS_MAX];
    assert_int_equal(plan_listed("superior+supervisor!list", rep.id, &rep, listed), 1);
    assert_true(id_equal(listed[0], supervisor.id));
    assert_int_equal(plan_listed("superior", rep.id, &rep, listed), 0);

    /* Who has left is told nothing: the next one up the line is. */
    lead.active = false;
    assert_string_equal(told("owner+superior", &rep), "13");
    rep.active = false;
    assert_string_equal(told("owner", &rep), "3");
    supervisor.active = false;
    assert_string_equal(told("supervisor", &rep), "4");
    manager.active = gm.active = false;
    assert_string_equal(told("owner+supervisor", &rep), "");

    /* Somebody the directory does not know can still be told himself. */
    struct id out[PLAN_RECIPIENTS_MAX];
    assert_int_equal(plan_recipients("owner+superior", rep.id, NULL, out), 1);
}

static void tells_survive_being_stored(void **state)
{
    (void)state;
    struct plan plan = {
        .nsteps = 3, .steps = { { 1, "owner" }, { 2, "owner+superior" }, { 3, "supervisor" } }
    };
    char text[PLAN_TELLS_MAX], word[64];

    plan_tells_write(&plan, text);
    assert_string_equal(text, "owner;owner+superior;supervisor");
    for (size_t i = 0; i < 3; i++) {
        assert_true(plan_tells_read(text, i, word));
        assert_string_equal(word, plan.steps[i].tells);
    }
    assert_false(plan_tells_read(text, 3, word));
    assert_false(plan_tells_read("", 0, word));
}

static void kinds_follow_from_the_times(void **state)
{
    (void)state;
    static const int64_t at[] = { 1, 2, 5, 6 };
    assert_int_equal(plan_kind_of(at, 4, 0, 5), PLAN_WARNING);
    assert_int_equal(plan_kind_of(at, 4, 1, 5), PLAN_WARNING);
    assert_int_equal(plan_kind_of(at, 4, 2, 5), PLAN_DUE);
    assert_int_equal(plan_kind_of(at, 4, 3, 5), PLAN_ESCALATION);
    assert_int_equal(plan_kind_of(at, 4, 0, 0), PLAN_DUE); /* known late: due later than due_at */
    assert_int_equal(plan_kind_of(at, 4, 1, 0), PLAN_ESCALATION);
}

static int set_up(void **state)
{
    *state = arena_new(MIB);
    return *state ? 0 : -1;
}

static int tear_down(void **state)
{
    arena_free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rule_has_its_due_time_and_steps),
        cmocka_unit_test(the_due_time_is_explained_with_its_policies),
        cmocka_unit_test(a_promise_without_its_date_is_refused),
        cmocka_unit_test(what_is_too_much_is_left_out),
        cmocka_unit_test(a_working_day_that_ends_before_it_begins_has_no_hours),
        cmocka_unit_test(every_rule_has_an_outline),
        cmocka_unit_test(tells_the_right_people_once),
        cmocka_unit_test(tells_survive_being_stored),
        cmocka_unit_test(kinds_follow_from_the_times),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
