/*
 * The rule book's table and the judging and reading of values.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/policy.h"

static struct policy_value value(const char *key, const char *text)
{
    const struct policy_def *def = policy_find(key);
    if (!def)
        fail_msg("no key %s", key);
    return (struct policy_value){ .def = def, .text = text ? text : def->default_value };
}

static void every_default_is_a_value_of_its_key(void **state)
{
    (void)state;
    size_t n;
    const struct policy_def *defs = policy_all(&n);
    assert_true(n > 30);
    for (size_t i = 0; i < n; i++) {
        const char *reason;
        if (policy_find(defs[i].key) != &defs[i])
            fail_msg("%s stands twice", defs[i].key);
        if (!policy_accepts(&defs[i], defs[i].default_value, &reason))
            fail_msg("%s: default %s, expected %s", defs[i].key, defs[i].default_value, reason);
        assert_true(strlen(defs[i].description) > 10);
        assert_non_null(policy_type_name(defs[i].type));
    }
}

/* Requirements 4.2 and section 2. */
static void defaults_are_those_of_the_requirements(void **state)
{
    (void)state;
    static const struct {
        const char *key, *want;
    } cases[] = {
        { "question_feedback_hours", "24" },
        { "interaction_update_hours", "24" },
        { "visit_report_due_hours", "24" },
        { "visit_report_final_days", "2" },
        { "commitment_warn_hours", "24" },
        { "commitment_default_due_hours", "24" },
        { "visit_record_soft_due", "end_of_working_day" },
        { "lead_offsets_24h", "-4h,-1h,0" },
        { "score_weight_recency", "0" },
        { "score_weight_frequency", "0.30" },
        { "score_weight_money", "0.40" },
        { "score_weight_potential", "0.30" },
        { "score_frequency_reference", "12" },
        { "score_money_reference_minor", "60000000" },
        { "tier_threshold_a", "80" },
        { "tier_threshold_b", "60" },
        { "tier_threshold_c", "40" },
        { "tier_hysteresis_points", "3" },
        { "checkin_far_m", "500" },
        { "reminder_enabled_tmr_01", "true" },
        { "reminder_enabled_tmr_43", "true" },
        { "timezone", "Asia/Shanghai" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_string_equal(value(cases[i].key, NULL).text, cases[i].want);
    assert_null(policy_find("reminder_enabled_tmr_06")); /* a rule that does not exist yet */
    assert_null(policy_find(""));
    assert_null(policy_find(NULL));
}

static void values_are_judged_by_type_range_and_form(void **state)
{
    (void)state;
    static const struct {
        const char *key, *value;
        bool want;
    } cases[] = {
        { "question_feedback_hours", "24", true },
        { "question_feedback_hours", "0.5", true },
        { "question_feedback_hours", "0", false },
        { "question_feedback_hours", "721", false },
        { "question_feedback_hours", "24h", false },
        { "question_feedback_hours", " 24", false },
        { "question_feedback_hours", "", false },
        { "question_feedback_hours", "nan", false },
        { "question_feedback_hours", "0x18", false },
        { "visit_report_final_days", "1.5", false },
        { "visit_report_final_days", "3", true },
        { "tier_threshold_a", "100.01", false },
        { "tier_threshold_a", "79.5", true },
        { "unregistered_visit_is_absence", "true", true },
        { "unregistered_visit_is_absence", "True", false },
        { "unregistered_visit_is_absence", "1", false },
        { "workday_end", "17:30", true },
        { "workday_end", "24:00", true },
        { "workday_end", "24:01", false },
        { "workday_end", "7:30", false },
        { "workday_end", "17:60", false },
        { "visit_record_soft_due", "end_of_working_day", true },
        { "visit_record_soft_due", "sometime", false },
        { "lead_offsets_24h", "-4h,-30m,0", true },
        { "lead_offsets_24h", "-4h,", false },
        { "lead_offsets_24h", ",0", false },
        { "lead_offsets_24h", "-4", false },
        { "lead_offsets_24h", "", true },
        { "working_week", "Mon,Sat", true },
        { "working_week", "Mon,Funday", false },
        { "working_week", "", false },
        { "timezone", "Europe/Berlin", true },
        { "timezone", "Europe/Atlantis", false },
        { "timezone", "../etc/passwd", false },
        { "money_currency", "EUR", true },
        { "money_currency", "eur", false },
        { "quiet_hours", "22:00-07:00", true },
        { "quiet_hours", "22:00", false },
        { "quiet_hours", "22:00-0700", false },
        { "hour_clock", "business", true },
        { "hour_clock", "busy", false },
        { "extra_roles", "", true },
        { "extra_roles", "\xff", false },
        { "escalation_esc_a", "-1h:owner,0:superior,2wd:regional_manager,50%:supervisor", true },
        { "escalation_esc_a", "24h", false },
        { "escalation_esc_a", "24h:", false },
        { "escalation_esc_a", "24x:owner", false },
        { "escalation_esc_a", "100%:owner", false },
        { "approver_roles_plan", "supervisor,regional_manager", true },
        { "escalation_esc_b", "0:owner,1wd:supervisor!list", true },
        { "escalation_esc_b", "1wd:supervisor!lis", false },
        { "escalation_esc_b", "1wd:!list", false },
        { "escalation_esc_b", "1wd:supervisor!list!list", false },
        { "approver_roles_plan", "super visor", false },
        { "extra_roles", "a!list", false },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *reason = NULL;
        bool got = policy_accepts(policy_find(cases[i].key), cases[i].value, &reason);
        if (got != cases[i].want)
            fail_msg("%s = '%s': want %d", cases[i].key, cases[i].value, cases[i].want);
        assert_non_null(reason);
    }
    const char *reason;
    assert_false(policy_accepts(policy_find("timezone"), NULL, &reason));
}

static void roles_are_those_of_the_catalogue_and_the_companys_own_ORG_01(void **state)
{
    (void)state;
    static const struct {
        const char *key, *value, *extra, *unknown; /* NULL: all known */
    } cases[] = {
        { "escalation_esc_a", "0:owner,0:superior,24h:supervisor,1wd:legal!list", "", NULL },
        { "escalation_esc_a", "0:owner,24h:suprvisor", "", "suprvisor" },
        { "escalation_esc_a", "24h:suprvisor!list", "", "suprvisor" },
        { "escalation_esc_a", "24h:coach", "trainer,coach", NULL },
        { "escalation_esc_a", "24h:coach", "coaches", "coach" },
        { "escalation_esc_a", "24h:system", "", "system" },
        { "approver_roles_plan", "supervisor,coach", "coach", NULL },
        { "approver_roles_plan", "superior", "", "superior" },
        { "extra_roles", "anything", "", NULL },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char unknown[POLICY_WORD_MAX] = "";
        bool got = policy_roles_are_known(policy_find(cases[i].key), cases[i].value, cases[i].extra,
                                          unknown);
        if (got != !cases[i].unknown || strcmp(unknown, got ? "" : cases[i].unknown) != 0)
            fail_msg("%s = '%s': %d %s", cases[i].key, cases[i].value, got, unknown);
    }
}

static void numbers_become_microseconds(void **state)
{
    (void)state;
    assert_true(policy_us(value("question_feedback_hours", NULL)) == 24 * HOUR_US);
    assert_true(policy_us(value("question_feedback_hours", "0.5")) == 30 * MINUTE_US);
    assert_true(policy_us(value("visit_report_final_days", NULL)) == 2 * DAY_US);
    assert_true(policy_number(value("score_money_reference_minor", NULL)) == 60000000);
    assert_true(policy_bool(value("reminder_enabled_tmr_01", NULL)));
    assert_false(policy_bool(value("reminder_enabled_tmr_01", "false")));
    /* What an older version stored and this one cannot read counts as the default. */
    assert_true(policy_number(value("tier_threshold_a", "eighty")) == 80);
}

static void offsets_are_read_in_order(void **state)
{
    (void)state;
    int64_t us[8];
    assert_int_equal(policy_offsets_us(value("lead_offsets_24h", NULL), us, ARRAY_LEN(us)), 3);
    assert_true(us[0] == -4 * HOUR_US && us[1] == -HOUR_US && us[2] == 0);
    assert_int_equal(policy_offsets_us(value("lead_offsets_24h", "-2d,+15m"), us, 1), 1);
    assert_true(us[0] == -2 * DAY_US);
    assert_int_equal(policy_offsets_us(value("lead_offsets_24h", ""), us, 8), 0);
}

static void escalation_steps_are_data(void **state)
{
    (void)state;
    struct policy_step s[8];
    assert_int_equal(policy_steps(value("escalation_esc_a", NULL), s, 8), 4);
    assert_true(s[0].offset_us == 0 && s[2].offset_us == 24 * HOUR_US);
    assert_string_equal(s[0].recipient, "owner");
    assert_string_equal(s[3].recipient, "sales_manager");
    assert_int_equal(
        policy_steps(value("escalation_esc_a", "75%:superior,0:supervisor,1wd:sales_manager,"
                                               "3wd:general_manager"),
                     s, 8),
        4);
    assert_int_equal(s[0].percent, 75);
    assert_int_equal(s[3].workdays, 3);
    assert_string_equal(s[3].recipient, "general_manager");
}

static void times_words_weeks_and_spans_are_read(void **state)
{
    (void)state;
    assert_int_equal(policy_minute(value("workday_end", "17:30"), 540, 1080), 1050);
    assert_int_equal(policy_minute(value("visit_record_soft_due", NULL), 540, 1080), 1080);
    assert_int_equal(policy_minute(value("visit_record_soft_due", "workday_start"), 540, 1080),
                     540);
    uint8_t mask;
    assert_true(policy_week_mask("Mon,Wed,Sun", &mask));
    assert_int_equal(mask, 0x45);
    int from, to;
    assert_true(policy_span("21:00-08:00", &from, &to));
    assert_int_equal(from, 1260);
    assert_int_equal(to, 480);
}

static void provenance_names_the_scope(void **state)
{
    (void)state;
    char buf[48];
    struct policy_value v = value("timezone", NULL);
    v.from_default = true;
    assert_string_equal(policy_provenance(v, buf, sizeof(buf)), "default");
    v.from_default = false;
    assert_string_equal(policy_provenance(v, buf, sizeof(buf)), "company");
    assert_true(id_parse("01933a00-0000-7000-8001-000000000002", &v.unit));
    assert_string_equal(policy_provenance(v, buf, sizeof(buf)),
                        "unit:01933a00-0000-7000-8001-000000000002");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_default_is_a_value_of_its_key),
        cmocka_unit_test(defaults_are_those_of_the_requirements),
        cmocka_unit_test(values_are_judged_by_type_range_and_form),
        cmocka_unit_test(roles_are_those_of_the_catalogue_and_the_companys_own_ORG_01),
        cmocka_unit_test(numbers_become_microseconds),
        cmocka_unit_test(offsets_are_read_in_order),
        cmocka_unit_test(escalation_steps_are_data),
        cmocka_unit_test(times_words_weeks_and_spans_are_read),
        cmocka_unit_test(provenance_names_the_scope),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
