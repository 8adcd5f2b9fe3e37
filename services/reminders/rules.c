/*
 * rules.c - the table of timed rules and the reader of event fields.
 */
#include "services/reminders/rules.h"

#include <assert.h>

#include "common/wire.h"
#include "daybook/customers/v1/events.pb-c.h"
#include "daybook/visits/v1/events.pb-c.h"

#define CUSTOMERS "daybook.customers.v1."
#define VISITS "daybook.visits.v1."

/* --- conditions ------------------------------------------------------------------------------ */

/* CON-10: a talk that was an on-site visit has the clocks of the visit (TMR-03 to TMR-05). */
static bool is_no_visit(const ProtobufCMessage *event)
{
    const Daybook__Customers__V1__InteractionEnded *e = (const void *)event;
    return e->interaction && !*e->interaction->visit_id;
}

static bool is_in_person(const ProtobufCMessage *event)
{
    const Daybook__Visits__V1__VisitEnded *e = (const void *)event;
    if (!e->visit)
        return false;
    return e->visit->mode == DAYBOOK__VISITS__V1__VISIT_MODE__VISIT_MODE_IN_PERSON ||
           e->visit->mode == DAYBOOK__VISITS__V1__VISIT_MODE__VISIT_MODE_UNSPECIFIED;
}

static bool is_dated(const ProtobufCMessage *event)
{
    const Daybook__Visits__V1__CommitmentMade *e = (const void *)event;
    return e->commitment && !e->commitment->undated && e->commitment->due_at;
}

static bool is_undated(const ProtobufCMessage *event)
{
    const Daybook__Visits__V1__CommitmentMade *e = (const void *)event;
    return e->commitment && !is_dated(event);
}

/* --- the table ------------------------------------------------------------------------------- */

/* clang-format off */
#define VISIT_REPORT_EVENTS                                                                        \
    .collection = "visits",                                                                        \
    .opened_by = { VISITS "VisitEnded", "visit.id", "visit.checked_out_at" },                      \
    .applies = is_in_person, .assignee = "visit.visitor_id", .unit = "unit_id",                    \
    .customer = "visit.customer_id", .topic = "visit.goal", .is_personal = true,                   \
    .fulfilled_by = { { VISITS "VisitReported", "visit.id", "visit.report.submitted_at" } },       \
    .cancelled_by = { { VISITS "VisitCancelled", "visit.id", NULL } }

#define COMMITMENT_EVENTS                                                                          \
    .collection = "commitments",                                                                   \
    .opened_by = { VISITS "CommitmentMade", "commitment.id", "commitment.promised_at" },           \
    .assignee = "commitment.owner_id", .unit = "unit_id", .customer = "commitment.customer_id",    \
    .topic = "commitment.text",                                                                    \
    .fulfilled_by = { { VISITS "CommitmentFulfilled", "commitment.id", "commitment.fulfilled_at" } }, \
    .cancelled_by = { { VISITS "CommitmentCancelled", "commitment.id", NULL } }

#define ESC_A .profile = "ESC-A", .profile_key = "escalation_esc_a"
#define ESC_B .profile = "ESC-B", .profile_key = "escalation_esc_b"
#define ESC_0 .profile = "ESC-0", .profile_key = "escalation_esc_0"

const struct rule rules[] = {
    { .id = "TMR-01",
      .description = "Give the customer a preliminary solution to an open question.",
      .title = "答复客户问题",
      .collection = "questions",
      .opened_by = { CUSTOMERS "QuestionOpened", "question.id", "question.asked_at" },
      .assignee = "question.assignee_id", .unit = "unit_id", .customer = "question.customer_id",
      .topic = "question.text",
      .due_type = DUE_HOURS, .policy_key = "question_feedback_hours", .lead = LEAD_24H, ESC_A,
      .enabled_key = "reminder_enabled_tmr_01",
      .fulfilled_by = { { CUSTOMERS "QuestionPreliminaryAnswered", "question.id",
                          "question.preliminary_answered_at" },
                        { CUSTOMERS "QuestionAnswered", "question.id", "question.answered_at" } } },
    { .id = "TMR-02",
      .description = "Complete the record of a communication in the customer file.",
      .title = "补全沟通记录",
      .collection = "interactions",
      .opened_by = { CUSTOMERS "InteractionEnded", "interaction.id", "interaction.ended_at" },
      .applies = is_no_visit,
      .assignee = "interaction.employee_id", .unit = "unit_id",
      .customer = "interaction.customer_id",
      .due_type = DUE_HOURS, .policy_key = "interaction_update_hours", .lead = LEAD_24H, ESC_A,
      .enabled_key = "reminder_enabled_tmr_02",
      .fulfilled_by = { { CUSTOMERS "InteractionRecorded", "interaction.id",
                          "interaction.recorded_at" } } },
    { .id = "TMR-03",
      .description = "Submit the visit report.",
      .title = "提交拜访报告",
      VISIT_REPORT_EVENTS,
      .due_type = DUE_HOURS, .policy_key = "visit_report_due_hours", .lead = LEAD_24H, ESC_A,
      .enabled_key = "reminder_enabled_tmr_03" },
    { .id = "TMR-04",
      .description = "Enter the visit record on the day of the visit (soft).",
      .title = "当日录入拜访记录",
      VISIT_REPORT_EVENTS,
      .due_type = DUE_END_OF_DAY, .policy_key = "visit_record_soft_due",
      .limit_key = "visit_report_final_days", .lead = LEAD_NONE, ESC_0,
      .enabled_key = "reminder_enabled_tmr_04" },
    { .id = "TMR-05",
      .description = "Final limit of the visit report; afterwards it counts as missing.",
      .title = "拜访报告最后期限",
      VISIT_REPORT_EVENTS,
      .due_type = DUE_DAYS, .policy_key = "visit_report_final_days", .lead = LEAD_24H, ESC_B,
      .enabled_key = "reminder_enabled_tmr_05" },
    { .id = "TMR-42",
      .description = "Keep a promise to a customer at the promised time.",
      .title = "兑现承诺",
      COMMITMENT_EVENTS, .applies = is_dated, .due = "commitment.due_at",
      .due_type = DUE_AT, .policy_key = "commitment_warn_hours", .lead = LEAD_PROMISE,
      .lead_key = "commitment_warn_hours", ESC_A,
      .enabled_key = "reminder_enabled_tmr_42" },
    { .id = "TMR-43",
      .description = "Keep a promise for which no date was named.",
      .title = "兑现承诺",
      COMMITMENT_EVENTS, .applies = is_undated,
      .due_type = DUE_HOURS, .policy_key = "commitment_default_due_hours", .lead = LEAD_24H, ESC_A,
      .enabled_key = "reminder_enabled_tmr_43" },
};
/* clang-format on */
const size_t rules_len = ARRAY_LEN(rules);

/* --- looking up ------------------------------------------------------------------------------ */

const struct rule *rule_find(const char *id)
{
    for (size_t i = 0; id && i < rules_len; i++)
        if (strcmp(rules[i].id, id) == 0)
            return &rules[i];
    return NULL;
}

static void match_list(const char *type, const struct rule *rule, enum rule_role role,
                       const struct rule_event *events, struct rule_match *out, size_t *n)
{
    for (size_t i = 0; i < RULE_EVENTS_MAX && events[i].type; i++) {
        if (strcmp(events[i].type, type) != 0)
            continue;
        assert(*n < RULE_MATCHES_MAX);
        out[(*n)++] = (struct rule_match){ rule, role, &events[i] };
    }
}

size_t rules_match(const char *type, struct rule_match out[static RULE_MATCHES_MAX])
{
    size_t n = 0;

    for (size_t i = 0; i < rules_len; i++) {
        const struct rule *rule = &rules[i];
        if (strcmp(rule->opened_by.type, type) == 0) {
            assert(n < RULE_MATCHES_MAX);
            out[n++] = (struct rule_match){ rule, RULE_OPENS, &rule->opened_by };
        }
        match_list(type, rule, RULE_FULFILS, rule->fulfilled_by, out, &n);
        match_list(type, rule, RULE_CANCELS, rule->cancelled_by, out, &n);
    }
    return n;
}

const char *rule_due_type_name(enum due_type type)
{
    static const char *const names[] = {
        [DUE_HOURS] = "hours",           [DUE_DAYS] = "days", [DUE_WORKDAYS] = "workdays",
        [DUE_END_OF_DAY] = "end_of_day", [DUE_AT] = "at",
    };
    return names[type];
}

bool rule_depends_on(const struct rule *rule, const char *policy_key)
{
    /* Any profile may count in working days, and a recalculation that changes nothing is harmless.
     */
    static const char *const calendar_keys[] = { "", "workday_start", "workday_end", "working_week",
                                                 "timezone" };
    for (size_t i = 0; i < ARRAY_LEN(calendar_keys); i++)
        if (strcmp(policy_key, calendar_keys[i]) == 0)
            return true;
    if (strcmp(policy_key, "hour_clock") == 0)
        return rule->due_type == DUE_HOURS;
    if (strcmp(policy_key, "lead_offsets_24h") == 0)
        return rule->lead == LEAD_24H;
    return strcmp(policy_key, rule->policy_key) == 0 ||
           strcmp(policy_key, rule->profile_key) == 0 ||
           strcmp(policy_key, rule->enabled_key) == 0 ||
           (rule->lead_key && strcmp(policy_key, rule->lead_key) == 0) ||
           (rule->limit_key && strcmp(policy_key, rule->limit_key) == 0);
}

/* --- fields by path -------------------------------------------------------------------------- */

/* The field's place in the message that holds it; NULL when a message on the way is absent. */
static const void *find_field(const ProtobufCMessage *message, const char *path,
                              const ProtobufCFieldDescriptor **field_out)
{
    for (;;) {
        char name[64];
        size_t len = strcspn(path, ".");
        assert(len > 0 && len < sizeof(name));
        memcpy(name, path, len);
        name[len] = '\0';

        const ProtobufCFieldDescriptor *field =
            protobuf_c_message_descriptor_get_field_by_name(message->descriptor, name);
        assert(field && field->label != PROTOBUF_C_LABEL_REPEATED);
        const void *place = (const char *)message + field->offset;
        if (!path[len]) {
            *field_out = field;
            return place;
        }
        assert(field->type == PROTOBUF_C_TYPE_MESSAGE);
        message = *(ProtobufCMessage *const *)place;
        if (!message)
            return NULL;
        path += len + 1;
    }
}

const char *rule_text(const ProtobufCMessage *event, const char *path)
{
    const ProtobufCFieldDescriptor *field;
    const void *place = find_field(event, path, &field);

    if (!place)
        return NULL;
    assert(field->type == PROTOBUF_C_TYPE_STRING);
    const char *text = *(char *const *)place;
    return text && *text ? text : NULL;
}

int64_t rule_time_us(const ProtobufCMessage *event, const char *path)
{
    const ProtobufCFieldDescriptor *field;
    const void *place = find_field(event, path, &field);

    if (!place)
        return 0;
    assert(field->type == PROTOBUF_C_TYPE_MESSAGE);
    return wire_time_us(*(const void *const *)place);
}
