/* The table of timed rules, walked row by row, and the reader of event fields. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/policy.h"
#include "common/schema.h"
#include "common/wire.h"
#include "daybook/customers/v1/events.pb-c.h"
#include "daybook/visits/v1/events.pb-c.h"
#include "services/reminders/rules.h"

static const ProtobufCMessage *new_event(const char *type, struct arena *a)
{
    const struct schema_message *m = schema_find_message(type);

    if (!m)
        fail_msg("no event %s", type);
    const ProtobufCMessage *event = wire_new(m->type, a);
    assert_non_null(event);
    return event;
}

static void check_path(const char *rule, const ProtobufCMessageDescriptor *type, const char *path,
                       bool is_time)
{
    const ProtobufCFieldDescriptor *field = NULL;
    char copy[128];

    if (!path)
        return;
    snprintf(copy, sizeof(copy), "%s", path);
    for (char *at = copy, *word; (word = strsep(&at, "."));) {
        field = protobuf_c_message_descriptor_get_field_by_name(type, word);
        if (!field)
            fail_msg("%s: %s has no %s", rule, type->name, path);
        if (at)
            type = field->descriptor;
    }
    assert_int_equal(field->type, is_time ? PROTOBUF_C_TYPE_MESSAGE : PROTOBUF_C_TYPE_STRING);
    if (is_time)
        assert_string_equal(((const ProtobufCMessageDescriptor *)field->descriptor)->name,
                            "google.protobuf.Timestamp");
}

static void check_event(const struct rule *rule, const struct rule_event *event)
{
    const struct schema_message *m = schema_find_message(event->type);

    if (!m)
        fail_msg("%s: no event %s", rule->id, event->type);
    check_path(rule->id, m->type, event->subject, false);
    check_path(rule->id, m->type, event->at, true);
}

static void every_rule_names_events_fields_and_policies_that_exist(void **state)
{
    (void)state;
    for (size_t i = 0; i < rules_len; i++) {
        const struct rule *r = &rules[i];
        const ProtobufCMessageDescriptor *opening = schema_find_message(r->opened_by.type)->type;
        check_event(r, &r->opened_by);
        for (size_t k = 0; k < RULE_EVENTS_MAX && r->fulfilled_by[k].type; k++)
            check_event(r, &r->fulfilled_by[k]);
        for (size_t k = 0; k < RULE_EVENTS_MAX && r->cancelled_by[k].type; k++)
            check_event(r, &r->cancelled_by[k]);
        check_path(r->id, opening, r->assignee, false);
        check_path(r->id, opening, r->unit, false);
        check_path(r->id, opening, r->customer, false);
        check_path(r->id, opening, r->topic, false);
        check_path(r->id, opening, r->due, true);
        assert_true(r->due_type != DUE_AT || r->due);
        assert_non_null(r->fulfilled_by[0].type);
        const char *const keys[] = { r->policy_key, r->profile_key, r->enabled_key };
        for (size_t k = 0; k < ARRAY_LEN(keys); k++)
            if (!policy_find(keys[k]))
                fail_msg("%s: no policy %s", r->id, keys[k]);
        assert_ptr_equal(rule_find(r->id), r);
    }
    assert_null(rule_find("TMR-99"));
    assert_null(rule_find(NULL));
}

/* Requirements 4.2 and 4.3, as a second opinion on the table. */
static void events_open_fulfil_and_cancel_as_the_requirements_say(void **state)
{
    (void)state;
    static const struct {
        const char *type;
        const char *opens, *fulfils, *cancels;
    } cases[] = {
        { "daybook.customers.v1.QuestionOpened", "TMR-01", "", "" },
        { "daybook.customers.v1.QuestionPreliminaryAnswered", "", "TMR-01", "" },
        { "daybook.customers.v1.QuestionAnswered", "", "TMR-01", "" },
        { "daybook.customers.v1.InteractionEnded", "TMR-02", "", "" },
        { "daybook.customers.v1.InteractionRecorded", "", "TMR-02", "" },
        { "daybook.visits.v1.VisitEnded", "TMR-03 TMR-04 TMR-05", "", "" },
        { "daybook.visits.v1.VisitReported", "", "TMR-03 TMR-04 TMR-05", "" },
        { "daybook.visits.v1.VisitCancelled", "", "", "TMR-03 TMR-04 TMR-05" },
        { "daybook.visits.v1.CommitmentMade", "TMR-42 TMR-43", "", "" },
        { "daybook.visits.v1.CommitmentFulfilled", "", "TMR-42 TMR-43", "" },
        { "daybook.visits.v1.CommitmentCancelled", "", "", "TMR-42 TMR-43" },
        { "daybook.customers.v1.OrderRecorded", "", "", "" },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct rule_match m[RULE_MATCHES_MAX];
        char got[3][64] = { "", "", "" };
        size_t n = rules_match(cases[i].type, m);
        for (size_t k = 0; k < n; k++) {
            char *text = got[m[k].role];
            size_t len = strlen(text);
            snprintf(text + len, 64 - len, "%s%s", len ? " " : "", m[k].rule->id);
        }
        assert_string_equal(got[RULE_OPENS], cases[i].opens);
        assert_string_equal(got[RULE_FULFILS], cases[i].fulfils);
        assert_string_equal(got[RULE_CANCELS], cases[i].cancels);
    }
}

static void conditions_keep_visits_and_dates_apart(void **state)
{
    struct arena *a = *state;
    Daybook__Customers__V1__Interaction talk = DAYBOOK__CUSTOMERS__V1__INTERACTION__INIT;
    Daybook__Customers__V1__InteractionEnded ended =
        DAYBOOK__CUSTOMERS__V1__INTERACTION_ENDED__INIT;
    Daybook__Visits__V1__Visit visit = DAYBOOK__VISITS__V1__VISIT__INIT;
    Daybook__Visits__V1__VisitEnded left = DAYBOOK__VISITS__V1__VISIT_ENDED__INIT;
    Daybook__Visits__V1__Commitment promise = DAYBOOK__VISITS__V1__COMMITMENT__INIT;
    Daybook__Visits__V1__CommitmentMade made = DAYBOOK__VISITS__V1__COMMITMENT_MADE__INIT;

    /* TMR-02: any communication except an on-site visit (CON-10). */
    assert_false(rule_find("TMR-02")->applies(&ended.base));
    ended.interaction = &talk;
    for (int channel = 0; channel <= 5; channel++) {
        talk.channel = (Daybook__Customers__V1__Channel)channel;
        assert_true(rule_find("TMR-02")->applies(&ended.base));
    }
    talk.visit_id = (char *)(uintptr_t) "01900000-0000-7000-8000-000000000001";
    assert_false(rule_find("TMR-02")->applies(&ended.base));
    /* TMR-03 to TMR-05: in person only. */
    assert_false(rule_find("TMR-03")->applies(&left.base));
    left.visit = &visit;
    for (int mode = 0; mode <= 3; mode++) {
        visit.mode = (Daybook__Visits__V1__VisitMode)mode;
        for (int k = 3; k <= 5; k++) {
            char id[8];
            snprintf(id, sizeof(id), "TMR-0%d", k);
            assert_int_equal(rule_find(id)->applies(&left.base), mode <= 1);
        }
    }
    /* A promise is dated or not, never both. */
    assert_false(rule_find("TMR-42")->applies(&made.base));
    assert_false(rule_find("TMR-43")->applies(&made.base));
    made.commitment = &promise;
    for (int i = 0; i < 4; i++) {
        promise.due_at = i & 1 ? wire_time(a, DAY_US) : NULL;
        promise.undated = i & 2;
        assert_int_equal(rule_find("TMR-42")->applies(&made.base), i == 1);
        assert_int_equal(rule_find("TMR-43")->applies(&made.base), i != 1);
    }
}

static void fields_are_read_by_path(void **state)
{
    struct arena *a = *state;
    const ProtobufCMessage *event = new_event("daybook.customers.v1.QuestionOpened", a);
    Daybook__Customers__V1__QuestionOpened q = DAYBOOK__CUSTOMERS__V1__QUESTION_OPENED__INIT;
    Daybook__Customers__V1__Question question = DAYBOOK__CUSTOMERS__V1__QUESTION__INIT;

    assert_null(rule_text(event, "question.id"));
    assert_int_equal(rule_time_us(event, "question.asked_at"), 0);
    question.id = arena_strdup(a, "7");
    question.asked_at = wire_time(a, 42 * SECOND_US + 7);
    q.question = &question;
    assert_string_equal(rule_text(&q.base, "question.id"), "7");
    assert_null(rule_text(&q.base, "question.text"));
    assert_null(rule_text(&q.base, "unit_id"));
    assert_int_equal(rule_time_us(&q.base, "question.asked_at"), 42 * SECOND_US + 7);
}

/* REM-09: which rules a change of the rule book or calendar touches. */
static void a_rule_knows_what_it_depends_on(void **state)
{
    (void)state;
    static const struct {
        const char *rule, *key;
        bool want;
    } cases[] = {
        { "TMR-01", "question_feedback_hours", true },
        { "TMR-01", "interaction_update_hours", false },
        { "TMR-01", "lead_offsets_24h", true },
        { "TMR-01", "hour_clock", true },
        { "TMR-01", "reminder_enabled_tmr_01", true },
        { "TMR-01", "reminder_enabled_tmr_02", false },
        { "TMR-01", "escalation_esc_a", true },
        { "TMR-01", "escalation_esc_b", false },
        { "TMR-05", "hour_clock", false },
        { "TMR-05", "escalation_esc_b", true },
        { "TMR-04", "visit_record_soft_due", true },
        { "TMR-04", "visit_report_final_days", true },
        { "TMR-04", "lead_offsets_24h", false },
        { "TMR-04", "", true }, /* the calendar */
        { "TMR-42", "commitment_warn_hours", true },
        { "TMR-42", "commitment_default_due_hours", false },
        { "TMR-43", "commitment_default_due_hours", true },
        { "TMR-03", "workday_end", true },
        { "TMR-03", "tier_threshold_a", false },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (rule_depends_on(rule_find(cases[i].rule), cases[i].key) != cases[i].want)
            fail_msg("%s on %s: want %d", cases[i].rule, cases[i].key, cases[i].want);
}

static int set_up(void **state)
{
    schema_init();
    *state = arena_new(MIB);
    return *state ? 0 : -1;
}

static int tear_down(void **state)
{
    arena_free(*state);
    schema_fini();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rule_names_events_fields_and_policies_that_exist),
        cmocka_unit_test(events_open_fulfil_and_cancel_as_the_requirements_say),
        cmocka_unit_test(conditions_keep_visits_and_dates_apart),
        cmocka_unit_test(fields_are_read_by_path),
        cmocka_unit_test(a_rule_knows_what_it_depends_on),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
