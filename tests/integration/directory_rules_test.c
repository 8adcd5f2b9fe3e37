/*
 * The rule book and the calendar of a company: scopes, dates, histories, imported years.
 */
#include "tests/integration/directory_fixture.h"

/* --- tests: rule book ------------------------------------------------------------------------- */

static void expect_policy(struct id t, const char *unit, const char *at, const char *value,
                          const char *provenance)
{
    const Daybook__Directory__V1__GetPolicyResponse *r =
        fine(say(system_of(t), POLICY, "Get",
                 "{\"key\":\"question_feedback_hours\",\"unitId\":\"%s\"%s%s%s}", unit,
                 at ? ",\"at\":\"" : "", at ? at : "", at ? "\"" : ""));
    assert_string_equal(r->policy->value, value);
    assert_string_equal(r->policy->provenance, provenance);
}

static bool feedback_is(const struct directory *d, struct id tenant, const void *want)
{
    struct policy_value v =
        directory_policy(d, tenant, person_of(101), "question_feedback_hours", clock_now_us());
    return strcmp(v.text, want) == 0;
}

static void the_rule_book_has_scopes_dates_and_a_history(void **state)
{
    (void)state;
    struct id t = small_company();
    const struct who system = system_of(t);
    const char *hq = text_of(person_of(100)), *team = text_of(person_of(101));
    char team_scope[48];
    snprintf(team_scope, sizeof(team_scope), "unit:%s", team);
#define SET "{\"key\":\"%s\",\"value\":\"%s\",\"unitId\":\"%s\",\"reason\":\"%s\"}"
    expect_policy(t, "", NULL, "24", "default");
    fine(say(system, POLICY, "Set", SET, "question_feedback_hours", "20", "", "trial"));
    expect_policy(t, team, NULL, "20", "company");
    fine(say(system, POLICY, "Set", SET, "question_feedback_hours", "12", team, "pilot"));
    expect_policy(t, team, NULL, "12", team_scope);
    expect_policy(t, hq, NULL, "20", "company");
    expect_policy(t, "", "2020-01-01T00:00:00Z", "24", "default");
    fine(say(system, POLICY, "Set",
             "{\"key\":\"question_feedback_hours\",\"value\":\"8\",\"unitId\":\"%s\","
             "\"effectiveFrom\":\"2190-01-01T00:00:00Z\",\"reason\":\"later\"}",
             hq));
    expect_policy(t, hq, NULL, "20", "company");
    expect_policy(t, team, "2190-01-01T00:00:00Z", "12", team_scope);
    char hq_scope[48];
    snprintf(hq_scope, sizeof(hq_scope), "unit:%s", hq);
    expect_policy(t, hq, "2190-01-01T00:00:00Z", "8", hq_scope);
    assert_true(wait_for_snapshot(feedback_is, t, "12") < slack(2 * SECOND_US));

    const Daybook__Directory__V1__PolicyHistoryResponse *h =
        fine(say(system, POLICY, "History", "{\"key\":\"question_feedback_hours\"}"));
    assert_int_equal(h->n_settings, 3);
    assert_string_equal(h->settings[0]->reason, "later");
    assert_string_equal(h->settings[2]->value, "20");
    assert_string_equal(h->settings[2]->set_by, text_of(system.actor));
    const Daybook__Directory__V1__ListPoliciesResponse *list =
        fine(say(system, POLICY, "List", "{\"unitId\":\"%s\"}", team));
    size_t n;
    policy_all(&n);
    assert_int_equal(list->n_policies, n);
    for (size_t i = 0; i < n; i++)
        if (strcmp(list->policies[i]->key, "question_feedback_hours") == 0) {
            assert_string_equal(list->policies[i]->value, "12");
            assert_string_equal(list->policies[i]->default_value, "24");
            assert_string_equal(list->policies[i]->type, "hours");
            assert_string_equal(list->policies[i]->minimum, "0.01");
            assert_string_equal(list->policies[i]->maximum, "720");
        }

    expect("no number", say(system, POLICY, "Set", SET, "question_feedback_hours", "soon", "", "r"),
           ERR_INVALID_ARGUMENT, "value");
    expect("out of range",
           say(system, POLICY, "Set", SET, "question_feedback_hours", "1000", "", "r"),
           ERR_INVALID_ARGUMENT, "value");
    expect("a role that nobody has (REM-05)",
           say(system, POLICY, "Set", SET, "escalation_esc_a", "0:owner,24h:suprvisor", "", "r"),
           ERR_INVALID_ARGUMENT, "value");
    expect("no such key", say(system, POLICY, "Set", SET, "no_such_key", "1", "", "r"),
           ERR_NOT_FOUND, NULL);
    expect("no such unit",
           say(system, POLICY, "Set", SET, "question_feedback_hours", "1", text_of(person_of(99)),
               "r"),
           ERR_NOT_FOUND, NULL);
    expect("no reason", say(system, POLICY, "Set", SET, "question_feedback_hours", "1", "", ""),
           ERR_INVALID_ARGUMENT, "reason");
    expect("the past",
           say(system, POLICY, "Set",
               "{\"key\":\"question_feedback_hours\",\"value\":\"8\",\"reason\":\"r\","
               "\"effectiveFrom\":\"2020-01-01T00:00:00Z\"}"),
           ERR_FAILED_PRECONDITION, NULL);
    unsigned rep = REP;
    wait_for_snapshot(knows_rep, t, &rep);
    expect("a rep",
           say(employee_of(t, person_of(REP)), POLICY, "Set", SET, "question_feedback_hours", "1",
               "", "r"),
           ERR_PERMISSION_DENIED, NULL);
    fine(say(employee_of(t, person_of(REP)), POLICY, "Get", "{\"key\":\"timezone\"}"));
    fine(say(employee_of(t, person_of(MANAGER)), POLICY, "Set", SET, "question_feedback_hours",
             "16", "", "r"));
    assert_int_equal(
        number_of("SELECT max(aggregate_version) AS n FROM bus.outbox WHERE tenant_id = '%s'"
                  " AND aggregate = 'policies/question_feedback_hours'",
                  text_of(t)),
        4);
}

/* --- tests: calendar -------------------------------------------------------------------------- */

static const Daybook__Directory__V1__ImportDaysResponse *import_year(struct id t, int year)
{
    char path[64];
    json_error_t fault;
    snprintf(path, sizeof(path), "tests/data/calendar/cn-%d.json", year);
    json_t *file = json_load_file(path, 0, &fault);
    if (!file)
        fail_msg("%s: %s", path, fault.text);
    char *days = json_dumps(json_object_get(file, "days"), 0);
    const Daybook__Directory__V1__ImportDaysResponse *r =
        fine(say(system_of(t), CALENDAR, "ImportDays", "{\"year\":%d,\"days\":%s}", year, days));
    assert_int_equal(r->stored, json_array_size(json_object_get(file, "days")));
    free(days);
    json_decref(file);
    return r;
}

static void expect_due(struct id t, const char *from, int workdays, const char *want)
{
    const Daybook__Directory__V1__AddWorkingDaysResponse *r =
        fine(say(system_of(t), CALENDAR, "AddWorkingDays", "{\"from\":\"%s\",\"workdays\":%d}",
                 from, workdays));
    int64_t due_us;
    assert_true(time_parse(want, &due_us));
    if (wire_time_us(r->due_at) != due_us) {
        char text[TIME_TEXT_MAX];
        fail_msg("%s + %d: %s", from, workdays, time_format(wire_time_us(r->due_at), text));
    }
    int counted = 0;
    for (size_t i = 0; i < r->n_explanation; i++)
        counted += r->explanation[i]->is_working_day;
    assert_int_equal(counted, workdays);
}

static bool knows_spring_festival(const struct directory *d, struct id tenant, const void *arg)
{
    (void)arg;
    const struct dir_tenant *t = directory_tenant(d, tenant);
    return t && !calendar_is_working(t->calendar, (struct date){ 2026, 2, 16 });
}

/* The vectors of conventions 3. */
static void imported_years_count_and_explain(void **state)
{
    (void)state;
    struct id t = new_company();
    expect_due(t, "2026-02-13T10:00:00+08:00", 3, "2026-02-18T18:00:00+08:00"); /* plain weeks */
    import_year(t, 2025);
    const Daybook__Directory__V1__ImportDaysResponse *im = import_year(t, 2026);
    assert_int_equal(im->changed, im->stored);
    expect_due(t, "2026-02-13T10:00:00+08:00", 3, "2026-02-25T18:00:00+08:00");
    expect_due(t, "2026-05-06T10:00:00+08:00", 5, "2026-05-12T18:00:00+08:00");
    expect_due(t, "2026-05-08T10:00:00+08:00", 1, "2026-05-09T18:00:00+08:00");
    expect_due(t, "2026-09-30T10:00:00+08:00", 3, "2026-10-10T18:00:00+08:00");
    expect_due(t, "2025-12-31T10:00:00+08:00", 5, "2026-01-08T18:00:00+08:00");
    assert_true(wait_for_snapshot(knows_spring_festival, t, NULL) < slack(2 * SECOND_US));

    const Daybook__Directory__V1__ListDaysResponse *days = fine(
        say(system_of(t), CALENDAR, "ListDays", "{\"from\":\"2026-02-14\",\"to\":\"2026-02-15\"}"));
    assert_int_equal(days->n_days, 2);
    assert_true(days->days[0]->is_working_day);
    assert_string_equal(days->days[0]->reason, "make-up day: 春节");
    assert_string_equal(days->days[1]->reason, "春节");
    days = fine(
        say(system_of(t), CALENDAR, "ListDays", "{\"from\":\"2027-02-15\",\"to\":\"2027-02-15\"}"));
    assert_string_equal(days->days[0]->reason, "weekday (calendar of that year not loaded)");

    /* Again: nothing changes, nobody is told. */
    int64_t events = number_of("SELECT count(*) AS n FROM bus.outbox");
    assert_int_equal(import_year(t, 2026)->changed, 0);
    assert_int_equal(number_of("SELECT count(*) AS n FROM bus.outbox"), events);
    /* Replaced by one day: the others are gone. */
    im = fine(
        say(system_of(t), CALENDAR, "ImportDays",
            "{\"year\":2026,\"days\":[{\"date\":\"2026-01-01\",\"name\":\"元旦\","
            "\"isOffDay\":true},{\"date\":\"2025-12-31\",\"name\":\"x\",\"isOffDay\":true}]}"));
    assert_int_equal(im->stored, 2);
    assert_int_equal(im->changed, 1);
    expect_due(t, "2025-12-30T10:00:00+08:00", 1, "2026-01-02T18:00:00+08:00");
    assert_int_equal(number_of("SELECT count(*) AS n FROM bus.outbox"), events + 1);

    /* Working hours and days are policies. */
    expect("a working day without hours",
           say(system_of(t), POLICY, "Set", SET, "workday_end", "06:00", "", "r"),
           ERR_INVALID_ARGUMENT, "value");
    fine(say(system_of(t), POLICY, "Set", SET, "workday_end", "17:30", "", "r"));
    fine(say(system_of(t), POLICY, "Set", SET, "working_week", "Mon,Tue,Wed,Thu,Fri,Sat", "", "r"));
    expect_due(t, "2026-03-13T10:00:00+08:00", 1, "2026-03-14T17:30:00+08:00");

    expect("another year",
           say(system_of(t), CALENDAR, "ImportDays",
               "{\"year\":2026,\"days\":[{\"date\":\"2027-01-01\"}]}"),
           ERR_INVALID_ARGUMENT, "days[0].date");
    expect("a day twice",
           say(system_of(t), CALENDAR, "ImportDays",
               "{\"year\":2026,\"days\":[{\"date\":\"2026-01-01\"},"
               "{\"date\":\"2026-01-01\"}]}"),
           ERR_INVALID_ARGUMENT, "days");
    expect("no date",
           say(system_of(t), CALENDAR, "ImportDays",
               "{\"year\":2026,\"days\":[{\"date\":\"2026-02-30\"}]}"),
           ERR_INVALID_ARGUMENT, "days[0].date");
    expect(
        "too far",
        say(system_of(t), CALENDAR, "ListDays", "{\"from\":\"2026-01-01\",\"to\":\"2028-01-01\"}"),
        ERR_INVALID_ARGUMENT, "to");
    expect("too many",
           say(system_of(t), CALENDAR, "AddWorkingDays",
               "{\"from\":\"2026-01-01T00:00:00Z\",\"workdays\":401}"),
           ERR_INVALID_ARGUMENT, "workdays");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_rule_book_has_scopes_dates_and_a_history, before_each),
        cmocka_unit_test_setup(imported_years_count_and_explain, before_each),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
