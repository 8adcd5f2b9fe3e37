/*
 * What is promised to customers: kept, late, withdrawn, and by whom (VIS-48, VIS-56, KPI-14,
 * TMR-43).
 */
#include "tests/integration/visits_fixture.h"

/* An undated promise of "rep" of Friday 16:00 local. */
static json_t *promised_on_friday(void)
{
    rig_time(rig, "2026-11-27T08:00:00Z");
    return rig_ok(rig, "rep", COMMITMENT_SERVICE, "Add",
                  "{\"commitment\":{\"customerId\":\"" CUSTOMER "\",\"text\":\"t\"}}");
}

static json_t *keep(json_t *made, const char *moment)
{
    rig_time(rig, moment);
    json_t *kept =
        rig_ok(rig, "rep", COMMITMENT_SERVICE, "Complete",
               "{\"commitmentId\":\"%s\",\"result\":\"r\"}", rig_text(made, "commitment.id"));
    json_decref(made);
    return kept;
}

static void an_undated_promise_is_judged_as_its_duty_TMR_43(void **state)
{
    static const struct {
        const char *key, *value, *from, *kept_at, *due_at;
        bool late;
    } cases[] = {
        { NULL, NULL, NULL, "2026-11-28T08:00:00Z", "2026-11-28T08:00:00Z", false },
        { "hour_clock", "business", "2026-11-01T00:00:00Z", "2026-12-02T05:00:00Z",
          "2026-12-02T05:00:00Z", false },
        { "hour_clock", "business", "2026-11-01T00:00:00Z", "2026-12-02T05:00:01Z",
          "2026-12-02T05:00:00Z", true },
        { "commitment_default_due_hours", "30", "2026-11-28T00:00:00Z", "2026-11-28T14:00:00Z",
          "2026-11-28T14:00:00Z", false },
        { "commitment_default_due_hours", "30", "2026-11-28T08:00:01Z", "2026-11-28T14:00:00Z",
          "2026-11-28T08:00:00Z", true },
        { "commitment_default_due_hours", "1", "2026-11-28T00:00:00Z", "2026-11-28T07:00:00Z",
          "2026-11-27T09:00:00Z", true },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (cases[i].key)
            rig_set_policy(cases[i].key, cases[i].value, cases[i].from);
        json_t *kept = keep(promised_on_friday(), cases[i].kept_at);
        assert_string_equal(rig_text(kept, "commitment.dueAt"), cases[i].due_at);
        assert_string_equal(rig_text(kept, "commitment.state"),
                            cases[i].late ? "COMMITMENT_STATE_FULFILLED_LATE"
                                          : "COMMITMENT_STATE_FULFILLED");
        json_decref(kept);
        rig_clear_policies();
    }
}

/* The duty counts by the rules of the unit that the event told; so do the marks, wherever he is
 * since. */
static void whoever_changes_his_unit_is_judged_as_his_duties_are_CON_10(void **state)
{
    (void)state;
    rig_set_unit_policy("EAST", "visit_report_due_hours", "30", "2026-11-01T00:00:00Z");
    rig_set_unit_policy("EAST", "visit_report_final_days", "3", "2026-11-01T00:00:00Z");
    rig_set_unit_policy("EAST", "commitment_default_due_hours", "30", "2026-11-01T00:00:00Z");
    const char *visit = ended_on_friday();
    json_t *made = promised_on_friday();
    rig_move("rep", "HQ");
    json_t *kept = keep(made, "2026-11-28T14:00:00Z");
    assert_string_equal(rig_text(kept, "commitment.dueAt"), "2026-11-28T14:00:00Z");
    assert_string_equal(rig_text(kept, "commitment.state"), "COMMITMENT_STATE_FULFILLED");
    json_decref(kept);
    json_t *reported = report(visit, "2026-11-28T14:00:00Z");
    assert_string_equal(rig_text(reported, "visit.report.late"), "");
    json_decref(reported);
    rig_clear_policies();

    rig_set_unit_policy("HQ", "visit_report_due_hours", "30", "2026-11-01T00:00:00Z");
    rig_set_unit_policy("EAST", "visit_report_due_hours", "24", "2026-11-01T00:00:00Z");
    visit = ended_on_friday();
    rig_move("rep", "HQ");
    reported = report(visit, "2026-11-28T14:00:00Z");
    assert_string_equal(rig_text(reported, "visit.report.late"), "true");
    json_decref(reported);
    rig_clear_policies();
}

static size_t open_promises(void)
{
    json_t *list = rig_ok(rig, "rep", COMMITMENT_SERVICE, "List", "{\"openOnly\":true}");
    size_t n = json_array_size(json_object_get(list, "commitments"));

    json_decref(list);
    return n;
}

static void a_promise_is_kept_late_or_withdrawn_VIS_56(void **state)
{
    char kept[ID_TEXT_MAX], late[ID_TEXT_MAX], off[ID_TEXT_MAX], open[ID_TEXT_MAX];
    char *const ids[] = { kept, late, off, open };
    size_t before = open_promises();

    (void)state;
    rig_time(rig, "2026-11-16T01:00:00Z");
    (void)rig_events(rig);
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        json_t *made = rig_ok(rig, "rep", COMMITMENT_SERVICE, "Add",
                              "{\"commitment\":{\"customerId\":\"" CUSTOMER
                              "\",\"text\":\"t\",\"dueAt\":\"2026-11-17T01:00:00Z\"}}");
        snprintf(ids[i], ID_TEXT_MAX, "%s", rig_text(made, "commitment.id"));
        json_decref(made);
    }
    rig_time(rig, "2026-11-17T01:00:00Z");
    json_t *done = rig_ok(rig, "rep", COMMITMENT_SERVICE, "Complete",
                          "{\"commitmentId\":\"%s\",\"result\":\"r\"}", kept);
    assert_string_equal(rig_text(done, "commitment.state"), "COMMITMENT_STATE_FULFILLED");
    json_decref(done);
    rig_time(rig, "2026-11-17T01:00:01Z");
    done = rig_ok(rig, "rep", COMMITMENT_SERVICE, "Complete",
                  "{\"commitmentId\":\"%s\",\"result\":\"r\"}", late);
    assert_string_equal(rig_text(done, "commitment.state"), "COMMITMENT_STATE_FULFILLED_LATE");
    json_decref(done);
    json_decref(rig_ok(rig, "lead", COMMITMENT_SERVICE, "Cancel",
                       "{\"commitmentId\":\"%s\",\"reason\":\"r\"}", off));
    rig_fails(rig, "rep", COMMITMENT_SERVICE, "Complete", ERR_FAILED_PRECONDITION, "cancelled",
              "{\"commitmentId\":\"%s\",\"result\":\"r\"}", off);
    assert_string_equal(rig_events(rig),
                        "CommitmentMade CommitmentMade CommitmentMade CommitmentMade "
                        "CommitmentFulfilled CommitmentFulfilled CommitmentCancelled");
    rig_fails(rig, "rep", COMMITMENT_SERVICE, "Add", ERR_INVALID_ARGUMENT, "after the promise",
              "{\"commitment\":{\"customerId\":\"" CUSTOMER
              "\",\"text\":\"t\",\"dueAt\":\"2026-11-01T00:00:00Z\"}}");
    assert_int_equal(open_promises(), before + 1);
}

/* After the due time the owner cannot clear his broken promise away, and it stays on record. */
static void a_broken_promise_is_withdrawn_by_a_superior_only_KPI_14(void **state)
{
    static const struct {
        const char *due; /* NULL: undated, 24 hours */
        const char *now;
        bool broken;
    } cases[] = {
        { "2026-11-17T01:00:00Z", "2026-11-17T01:00:00Z", false },
        { "2026-11-17T01:00:00Z", "2026-11-17T01:00:01Z", true },
        { NULL, "2026-11-17T01:00:00Z", false },
        { NULL, "2026-11-17T01:00:01Z", true },
    };
    char due[64], id[ID_TEXT_MAX];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        rig_time(rig, "2026-11-16T01:00:00Z");
        snprintf(due, sizeof(due), ",\"dueAt\":\"%s\"", cases[i].due ? cases[i].due : "");
        json_t *made = rig_ok(rig, "rep", COMMITMENT_SERVICE, "Add",
                              "{\"commitment\":{\"customerId\":\"" CUSTOMER
                              "\",\"text\":\"t\",\"broken\":true%s}}",
                              cases[i].due ? due : "");
        assert_string_equal(rig_text(made, "commitment.broken"), "");
        snprintf(id, sizeof(id), "%s", rig_text(made, "commitment.id"));
        json_decref(made);
        rig_time(rig, cases[i].now);
        if (cases[i].broken)
            rig_fails(rig, "rep", COMMITMENT_SERVICE, "Cancel", ERR_PERMISSION_DENIED, "superior",
                      "{\"commitmentId\":\"%s\",\"reason\":\"r\"}", id);
        json_t *off = rig_ok(rig, cases[i].broken ? "lead" : "rep", COMMITMENT_SERVICE, "Cancel",
                             "{\"commitmentId\":\"%s\",\"reason\":\"r\"}", id);
        assert_string_equal(rig_text(off, "commitment.broken"), cases[i].broken ? "true" : "");
        json_decref(off);
        assert_string_equal(
            rig_value(rig, "SELECT broken FROM visits.commitment ORDER BY id DESC LIMIT 1"),
            cases[i].broken ? "t" : "f");
    }
}

/* Nobody above him: who else should? */
static void the_general_manager_withdraws_his_own_broken_promise(void **state)
{
    (void)state;
    rig_time(rig, "2026-11-16T01:00:00Z");
    json_t *made = rig_ok(rig, "gm", COMMITMENT_SERVICE, "Add",
                          "{\"commitment\":{\"customerId\":\"" CUSTOMER "\",\"text\":\"t\"}}");
    rig_time(rig, "2026-11-18T01:00:00Z");
    json_t *off =
        rig_ok(rig, "gm", COMMITMENT_SERVICE, "Cancel",
               "{\"commitmentId\":\"%s\",\"reason\":\"r\"}", rig_text(made, "commitment.id"));
    assert_string_equal(rig_text(off, "commitment.broken"), "true");
    json_decref(off);
    json_decref(made);
}

/* Neither one whom the caller does not see (VIS-48) nor one who has left. */
static void nothing_is_laid_on_those_one_does_not_see_or_who_left_VIS_48(void **state)
{
    static const struct {
        const char *caller, *other;
        enum err code;
    } cases[] = {
        { "rep", "rep2", ERR_NOT_FOUND },
        { "lead", "gone", ERR_INVALID_ARGUMENT },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *caller = cases[i].caller, *other = rig_employee_text(cases[i].other);
        rig_time(rig, "2026-11-30T01:00:00Z");
        rig_fails(rig, caller, COMMITMENT_SERVICE, "Add", cases[i].code, "employee",
                  "{\"commitment\":{\"customerId\":\"" CUSTOMER
                  "\",\"text\":\"t\",\"ownerId\":\"%s\"}}",
                  other);
        rig_fails(
            rig, caller, VISIT_SERVICE, "Request", cases[i].code, "employee",
            "{\"visit\":{" OBJECT
            ",\"visitorId\":\"%s\",\"purposes\":[\"VISIT_PURPOSE_NEEDS_SURVEY\"],"
            "\"startsAt\":\"2026-12-01T06:00:00Z\",\"endsAt\":\"2026-12-01T07:00:00Z\",\"goal\":"
            "\"g\"}}",
            other);
        json_t *in =
            rig_ok(rig, caller, VISIT_SERVICE, "CheckIn", "{\"customerId\":\"" CUSTOMER "\"}");
        const char *id = rig_text(in, "visit.id");
        json_decref(rig_ok(rig, caller, VISIT_SERVICE, "CheckOut", "{\"visitId\":\"%s\"}", id));
        rig_fails(rig, caller, VISIT_SERVICE, "SubmitReport", cases[i].code, "employee",
                  "{\"visitId\":\"%s\"," REPORT
                  ",\"purposes\":[\"VISIT_PURPOSE_SOLVE_PROBLEM\"],\"goal\":\"g\","
                  "\"commitments\":[{\"text\":\"t\",\"ownerId\":\"%s\"}]}",
                  id, "", other);
        json_decref(in);
    }
}

static void a_promise_is_made_at_a_visit_in_a_call_or_for_a_complaint_VIS_56(void **state)
{
    static const struct {
        const char *source, *want; /* NULL: refused */
    } cases[] = {
        { "", "" },
        { "interactions/07000000-0000-7000-8000-00000000000A",
          "interactions/07000000-0000-7000-8000-00000000000a" },
        { "complaints/07000000-0000-7000-8000-000000000001",
          "complaints/07000000-0000-7000-8000-000000000001" },
        { "complaints/", NULL },
        { "visits/07000000-0000-7000-8000-000000000001", NULL },
        { "07000000-0000-7000-8000-000000000001", NULL },
        { "complaints/07000000-0000-7000-8000-000000000001/x", NULL },
    };
    static const char add[] =
        "{\"commitment\":{\"customerId\":\"" CUSTOMER "\",\"text\":\"t\",\"source\":\"%s\"%s}}";

    (void)state;
    rig_time(rig, "2027-03-01T01:00:00Z");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (!cases[i].want) {
            rig_fails(rig, "rep2", COMMITMENT_SERVICE, "Add", ERR_INVALID_ARGUMENT, "source", add,
                      cases[i].source, "");
            continue;
        }
        json_t *made = rig_ok(rig, "rep2", COMMITMENT_SERVICE, "Add", add, cases[i].source, "");
        json_t *done =
            rig_ok(rig, "rep2", COMMITMENT_SERVICE, "Complete",
                   "{\"commitmentId\":\"%s\",\"result\":\"r\"}", rig_text(made, "commitment.id"));
        assert_string_equal(rig_text(done, "commitment.source"), cases[i].want);
        json_decref(done);
        json_decref(made);
    }
    json_t *in = rig_ok(rig, "rep2", VISIT_SERVICE, "CheckIn", "{\"customerId\":\"" CUSTOMER "\"}");
    char visit[80];
    snprintf(visit, sizeof(visit), ",\"visitId\":\"%s\"", rig_text(in, "visit.id"));
    rig_fails(rig, "rep2", COMMITMENT_SERVICE, "Add", ERR_INVALID_ARGUMENT, "source", add,
              cases[1].source, visit);
    json_decref(in);
}

static size_t listed(const char *actor, const char *customer)
{
    json_t *list = rig_ok(rig, actor, COMMITMENT_SERVICE, "List",
                          "{\"customerId\":\"%s\",\"openOnly\":true}", customer);
    size_t n = json_array_size(json_object_get(list, "commitments"));

    json_decref(list);
    return n;
}

/* REM-18: he is the one who is reminded of it then. */
static void the_new_owner_of_a_customer_may_keep_what_was_promised_him(void **state)
{
    static const char other[] = "05000000-0000-7000-8000-0000000000aa";
    char id[ID_TEXT_MAX];

    (void)state;
    rig_time(rig, "2026-11-16T01:00:00Z");
    rig_hear(rig, &visits_consumer, false, "daybook.customers.v1.CustomerCreated",
             "2026-11-16T01:00:00Z",
             "{\"customer\":{\"id\":\"%s\",\"name\":\"Shop\",\"ownerId\":\"%s\"}}", other,
             rig_employee_text("rep"));
    json_t *made = rig_ok(rig, "rep", COMMITMENT_SERVICE, "Add",
                          "{\"commitment\":{\"customerId\":\"%s\",\"text\":\"t\"}}", other);
    snprintf(id, sizeof(id), "%s", rig_text(made, "commitment.id"));
    json_decref(made);
    rig_fails(rig, "rep2", COMMITMENT_SERVICE, "Complete", ERR_NOT_FOUND, "",
              "{\"commitmentId\":\"%s\",\"result\":\"r\"}", id);
    assert_int_equal(listed("rep2", other), 0);
    rig_hear(
        rig, &visits_consumer, false, "daybook.customers.v1.CustomerUpdated",
        "2026-11-16T01:00:00Z",
        "{\"customer\":{\"id\":\"%s\",\"name\":\"Shop\",\"ownerId\":\"%s\"},\"changedFields\":["
        "\"owner_id\"]}",
        other, rig_employee_text("rep2"));
    assert_int_equal(listed("rep2", other), 1);
    assert_int_equal(listed("rep", other), 1); /* whose promise it was */
    json_decref(rig_ok(rig, "rep2", COMMITMENT_SERVICE, "Complete",
                       "{\"commitmentId\":\"%s\",\"result\":\"r\"}", id));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_undated_promise_is_judged_as_its_duty_TMR_43),
        cmocka_unit_test(whoever_changes_his_unit_is_judged_as_his_duties_are_CON_10),
        cmocka_unit_test(the_new_owner_of_a_customer_may_keep_what_was_promised_him),
        cmocka_unit_test(a_promise_is_kept_late_or_withdrawn_VIS_56),
        cmocka_unit_test(a_broken_promise_is_withdrawn_by_a_superior_only_KPI_14),
        cmocka_unit_test(the_general_manager_withdraws_his_own_broken_promise),
        cmocka_unit_test(a_promise_is_made_at_a_visit_in_a_call_or_for_a_complaint_VIS_56),
        cmocka_unit_test(nothing_is_laid_on_those_one_does_not_see_or_who_left_VIS_48),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
