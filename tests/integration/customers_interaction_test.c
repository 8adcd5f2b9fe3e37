/*
 * Talks, questions and the timeline: who may record what of whom, and when it is late.
 */
#include "tests/integration/customers_fixture.h"

static void nobody_records_in_the_name_of_one_he_does_not_see_INT_01(void **state)
{
    const char *id = customer_of("rep", "in whose name");

    (void)state;
    rig_fails(rig, "rep", INTERACTION_SERVICE, "RecordInteraction", ERR_NOT_FOUND, "employee",
              "{\"interaction\":{\"customerId\":\"%s\",\"employeeId\":\"%s\",\"channel\":\"CHANNEL_"
              "PHONE\",\"content\":\"x\"}}",
              id, rig_employee_text("rep2"));
    rig_fails(rig, "rep", INTERACTION_SERVICE, "RegisterEnded", ERR_NOT_FOUND, "employee",
              "{\"customerId\":\"%s\",\"employeeId\":\"%s\",\"channel\":\"CHANNEL_PHONE\"}", id,
              rig_employee_text("rep2"));
}

/* A call centre registers a call of rep2 with a customer of rep: the 24 hours run for rep2. */
static void who_must_write_the_record_may_write_it_TMR_02(void **state)
{
    const char *id = customer_of("rep", "colleague helps");

    (void)state;
    json_t *ended =
        rig_ok(rig, "system", INTERACTION_SERVICE, "RegisterEnded",
               "{\"customerId\":\"%s\",\"employeeId\":\"%s\",\"channel\":\"CHANNEL_PHONE\"}", id,
               rig_employee_text("rep2"));
    json_decref(rig_ok(rig, "rep2", INTERACTION_SERVICE, "RecordInteraction",
                       "{\"interaction\":{\"id\":\"%s\",\"content\":\"done\"}}",
                       rig_text(ended, "interaction.id")));
    json_decref(ended);
}

static void the_contact_of_a_communication_is_the_customers(void **state)
{
    char mine[ID_TEXT_MAX], theirs[ID_TEXT_MAX];
    snprintf(mine, sizeof(mine), "%s", customer_of("rep", "contact mine"));
    snprintf(theirs, sizeof(theirs), "%s", customer_of("rep2", "contact theirs"));

    (void)state;
    json_t *c = rig_ok(rig, "rep2", CONTACT_SERVICE, "Create",
                       "{\"contact\":{\"customerId\":\"%s\",\"name\":\"a\"}}", theirs);
    rig_fails(rig, "rep", INTERACTION_SERVICE, "RecordInteraction", ERR_NOT_FOUND, "contact",
              "{\"interaction\":{\"customerId\":\"%s\",\"contactId\":\"%s\",\"channel\":\"CHANNEL_"
              "PHONE\",\"content\":\"x\"}}",
              mine, rig_text(c, "contact.id"));
    json_decref(c);
    c = rig_ok(rig, "rep", CONTACT_SERVICE, "Create",
               "{\"contact\":{\"customerId\":\"%s\",\"name\":\"b\"}}", mine);
    json_decref(rig_ok(rig, "rep", INTERACTION_SERVICE, "RecordInteraction",
                       "{\"interaction\":{\"customerId\":\"%s\",\"contactId\":\"%s\",\"channel\":"
                       "\"CHANNEL_PHONE\",\"content\":\"x\"}}",
                       mine, rig_text(c, "contact.id")));
    json_decref(c);
}

/* More entries of one moment and kind than a page with all its slack. */
static void a_timeline_with_many_entries_of_one_moment_is_whole_INT_22(void **state)
{
    char token[4096] = "", id[ID_TEXT_MAX];
    size_t seen = 0, pages = 0;

    (void)state;
    snprintf(id, sizeof(id), "%s", customer_of("rep", "one moment"));
    (void)rig_value(rig, "WITH c AS (SELECT * FROM customers.customer WHERE name = 'one moment'), "
                         "i AS (INSERT INTO customers.sales_order SELECT c.tenant_id, "
                         "gen_random_uuid(), c.id, NULL, NULL, 'order', "
                         "'2026-11-01', 5, 'CNY' FROM c, generate_series(1, 130)) SELECT ''");
    do {
        json_t *page =
            rig_ok(rig, "rep", CUSTOMER_SERVICE, "GetTimeline",
                   "{\"customerId\":\"%s\",\"pageSize\":10,\"pageToken\":\"%s\"}", id, token);
        seen += json_array_size(json_object_get(page, "entries"));
        const json_t *next = json_object_get(page, "nextPageToken");
        snprintf(token, sizeof(token), "%s", next ? json_string_value(next) : "");
        json_decref(page);
    } while (*token && ++pages < 40);
    assert_int_equal(seen, 131);
}

/* A question of that customer, asked at the rig's time; the id lives until the next call. */
static const char *question_of(const char *actor, const char *customer, const char *assignee)
{
    static char id[ID_TEXT_MAX];
    json_t *reply = rig_ok(rig, actor, INTERACTION_SERVICE, "RecordInteraction",
                           "{\"interaction\":{\"customerId\":\"%s\",\"channel\":\"CHANNEL_PHONE\","
                           "\"content\":\"asked\",\"employeeId\":\"%s\","
                           "\"questions\":[{\"text\":\"when?\",\"assigneeId\":\"%s\"}]}}",
                           customer, rig_employee_text(actor), rig_employee_text(assignee));

    snprintf(id, sizeof(id), "%s", rig_text(reply, "interaction.questions.0.id"));
    json_decref(reply);
    return id;
}

/* The mark on the record and the reminder count alike: working hours where the rule book says so,
 * and by the rule that holds while the time runs (CON-10, REM-09). */
static void lateness_is_counted_as_the_reminder_counts_CON_10(void **state)
{
    static const struct {
        const char *label, *clock, *change, *answered_at;
        bool late;
    } cases[] = {
        { "Friday 16:00 + 24 h", "absolute", NULL, "2026-11-21T08:00:00Z", false },
        { "a second more", "absolute", NULL, "2026-11-21T08:00:01Z", true },
        { "working time: 2 h on Friday, 9 on Monday and Tuesday, 4 on Wednesday", "business", NULL,
          "2026-11-25T05:00:00Z", false },
        { "a second more", "business", NULL, "2026-11-25T05:00:01Z", true },
        { "shortened while it runs", "absolute", "8", "2026-11-20T17:00:00Z", true },
        { "prolonged while it runs", "absolute", "48", "2026-11-22T08:00:00Z", false },
    };
    const char *customer = customer_of("rep", "counted");

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        rig_set_policy("hour_clock", cases[i].clock, "2026-01-01T00:00:00Z");
        rig_time(rig, "2026-11-20T08:00:00Z"); /* Friday 16:00 in Shanghai */
        char id[ID_TEXT_MAX];
        snprintf(id, sizeof(id), "%s", question_of("rep", customer, "rep"));
        if (cases[i].change) {
            rig_set_policy("question_feedback_hours", cases[i].change, "2026-11-20T10:00:00Z");
            rig_set_policy("interaction_update_hours", cases[i].change, "2026-11-20T10:00:00Z");
        }
        char ref[16];
        snprintf(ref, sizeof(ref), "call-%zu", i);
        json_decref(rig_ok(rig, "service", INTERACTION_SERVICE, "RegisterEnded",
                           "{\"customerId\":\"%s\",\"employeeId\":\"%s\",\"channel\":"
                           "\"CHANNEL_PHONE\",\"externalRef\":{\"source\":\"pbx\",\"id\":"
                           "\"%s\"}}",
                           customer, rig_employee_text("rep"), ref));
        rig_time(rig, cases[i].answered_at);
        json_t *answered = rig_ok(rig, "rep", INTERACTION_SERVICE, "AnswerQuestion",
                                  "{\"questionId\":\"%s\",\"answer\":\"soon\",\"final\":true}", id);
        json_t *recorded =
            rig_ok(rig, "rep", INTERACTION_SERVICE, "RecordInteraction",
                   "{\"interaction\":{\"externalRef\":{\"source\":\"pbx\",\"id\":\"%s\"},"
                   "\"content\":\"talked\"}}",
                   ref);
        const char *want = cases[i].late ? "true" : "";
        if (strcmp(rig_text(answered, "question.late"), want) != 0 ||
            strcmp(rig_text(recorded, "interaction.late"), want) != 0)
            fail_msg("%s, %s: question '%s', record '%s'", cases[i].label, cases[i].answered_at,
                     rig_text(answered, "question.late"), rig_text(recorded, "interaction.late"));
        json_decref(answered);
        json_decref(recorded);
        rig_clear_policies();
    }
    /* by the rules of the unit that the events named, wherever the person is now */
    assert_string_equal(rig_value(rig, "SELECT (bool_and(q.unit_id IS NOT NULL) AND "
                                       "bool_and(q.unit_id = i.unit_id))::text FROM "
                                       "customers.question q, customers.interaction i"),
                        "true");
    rig_time(rig, "2026-11-16T01:00:00Z");
}

/* An event of a visit, as visits tell it. */
static void hear_visit(const char *event, const char *visit, const char *customer,
                       const char *visitor, const char *mode)
{
    char type[64];

    snprintf(type, sizeof(type), "daybook.visits.v1.%s", event);
    rig_hear(rig, &customers_consumer, false, type, "2026-11-14T00:00:00Z",
             "{\"visit\":{\"id\":\"%s\",\"customerId\":\"%s\",\"visitorId\":\"%s\",\"mode\":"
             "\"VISIT_MODE_%s\"}}",
             visit, customer, rig_employee_text(visitor), mode);
}

/* Only a visit is free of the 24 hours, not every talk in person (TMR-02, INT-03, CON-10). */
static void a_talk_in_person_is_late_unless_it_was_a_visit_CON_10(void **state)
{
    static const char visit[] = "01900000-0000-7000-8000-0000000000c1";
    const char *customer = customer_of("rep", "visited"), *rep = rig_employee_text("rep");

    (void)state;
    hear_visit("VisitCheckedIn", visit, customer, "rep", "IN_PERSON");
#define TALK "\"customerId\":\"%s\",\"employeeId\":\"%s\",\"endedAt\":\"2026-11-14T00:00:00Z\","
#define RECORD "{\"interaction\":{" TALK "\"content\":\"x\",\"channel\":\"%s\"%s%s%s}}"
    json_t *reply = rig_ok(rig, "rep", INTERACTION_SERVICE, "RecordInteraction", RECORD, customer,
                           rep, "CHANNEL_IN_PERSON", "", "", "");
    assert_string_equal(rig_text(reply, "interaction.late"), "true");
    json_decref(reply);
    reply = rig_ok(rig, "rep", INTERACTION_SERVICE, "RecordInteraction", RECORD, customer, rep,
                   "CHANNEL_IN_PERSON", ",\"visitId\":\"", visit, "\"");
    assert_string_equal(rig_text(reply, "interaction.late"), "");
    assert_string_equal(rig_text(reply, "interaction.visitId"), visit);
    json_decref(reply);
    rig_fails(rig, "rep", INTERACTION_SERVICE, "RecordInteraction", ERR_INVALID_ARGUMENT,
              "in person", RECORD, customer, rep, "CHANNEL_PHONE", ",\"visitId\":\"", visit, "\"");
    rig_fails(rig, "rep", INTERACTION_SERVICE, "RecordInteraction", ERR_NOT_FOUND, "no visit",
              RECORD, customer, rep, "CHANNEL_IN_PERSON", ",\"visitId\":\"", customer, "\"");
    /* What was registered stands: who did not name a visit then has the clock running. */
    for (int with = 0; with < 2; with++) {
        reply = rig_ok(rig, "rep", INTERACTION_SERVICE, "RegisterEnded",
                       "{" TALK "\"channel\":\"CHANNEL_IN_PERSON\"%s%s%s}", customer, rep,
                       with ? ",\"visitId\":\"" : "", with ? visit : "", with ? "\"" : "");
        char id[ID_TEXT_MAX];
        snprintf(id, sizeof(id), "%s", rig_text(reply, "interaction.id"));
        json_decref(reply);
        reply = rig_ok(rig, "rep", INTERACTION_SERVICE, "RecordInteraction",
                       "{\"interaction\":{\"id\":\"%s\",\"content\":\"x\",\"visitId\":\"%s\"}}", id,
                       visit);
        assert_string_equal(rig_text(reply, "interaction.late"), with ? "" : "true");
        assert_string_equal(rig_text(reply, "interaction.visitId"), with ? visit : "");
        json_decref(reply);
    }
}

/* Of other visits no report is owed, and the talk would be rid of every clock (TMR-02, CON-10). */
static void a_talk_was_a_visit_that_its_visitor_made_in_person_CON_10(void **state)
{
    static const char rebuilding[] =
        "INSERT INTO customers.consumer_cursor (consumer, seq, replay_until) VALUES "
        "('customers', 0, 9) ON CONFLICT (consumer) DO UPDATE SET replay_until = 9 RETURNING ''";
    static const struct {
        const char *label, *events[3], *visitor, *mode;
        enum err want, want_in_rebuild;
        const char *words;
    } cases[] = {
        { "not heard of", { 0 }, "rep", "IN_PERSON", ERR_NOT_FOUND, ERR_UNAVAILABLE, "no visit" },
        { "only asked for",
          { "VisitRequested" },
          "rep",
          "IN_PERSON",
          ERR_INVALID_ARGUMENT,
          ERR_UNAVAILABLE,
          "check in first" },
        { "called off",
          { "VisitRequested", "VisitApproved", "VisitCancelled" },
          "rep",
          "IN_PERSON",
          ERR_INVALID_ARGUMENT,
          ERR_UNAVAILABLE,
          "check in first" },
        { "of somebody else",
          { "VisitRequested", "VisitCheckedIn" },
          "rep2",
          "IN_PERSON",
          ERR_INVALID_ARGUMENT,
          ERR_INVALID_ARGUMENT,
          "employee_id" },
        { "by phone",
          { "VisitCheckedIn", "VisitEnded" },
          "rep",
          "PHONE",
          ERR_INVALID_ARGUMENT,
          ERR_INVALID_ARGUMENT,
          "by phone" },
        { "checked in", { "VisitApproved", "VisitCheckedIn" }, "rep", "IN_PERSON", 0, 0, "" },
        { "ended", { "VisitEnded" }, "rep", "IN_PERSON", 0, 0, "" },
        { "reported", { "VisitReported" }, "rep", "IN_PERSON", 0, 0, "" },
    };
    char customer[ID_TEXT_MAX], visit[ID_TEXT_MAX];

    (void)state;
    snprintf(customer, sizeof(customer), "%s", customer_of("rep", "kinds of visits"));
    for (size_t i = 0; i < 2 * ARRAY_LEN(cases); i++) {
        size_t k = i % ARRAY_LEN(cases);
        bool rebuild = i >= ARRAY_LEN(cases);
        enum err want = rebuild ? cases[k].want_in_rebuild : cases[k].want;
        snprintf(visit, sizeof(visit), "01900000-0000-7000-8000-0000000001%02zx", k);
        for (size_t n = 0; !rebuild && n < ARRAY_LEN(cases[k].events) && cases[k].events[n]; n++)
            hear_visit(cases[k].events[n], visit, customer, cases[k].visitor, cases[k].mode);
        if (i == ARRAY_LEN(cases)) /* the second half of the rounds is told in a rebuild */
            (void)rig_value(rig, rebuilding);
        print_message("%s%s\n", cases[k].label, rebuild ? ", in a rebuild" : "");
        if (want)
            rig_fails(rig, "rep", INTERACTION_SERVICE, "RecordInteraction", want,
                      want == ERR_UNAVAILABLE ? "heard anew" : cases[k].words, RECORD, customer,
                      rig_employee_text("rep"), "CHANNEL_IN_PERSON", ",\"visitId\":\"", visit,
                      "\"");
        else
            json_decref(rig_ok(rig, "rep", INTERACTION_SERVICE, "RecordInteraction", RECORD,
                               customer, rig_employee_text("rep"), "CHANNEL_IN_PERSON",
                               ",\"visitId\":\"", visit, "\""));
    }
    rig_fails(rig, "rep", INTERACTION_SERVICE, "RegisterEnded", ERR_INVALID_ARGUMENT, "visit_id",
              "{" TALK "\"channel\":\"CHANNEL_IN_PERSON\",\"visitId\":\"%s\"}", customer,
              rig_employee_text("rep"), "01900000-0000-7000-8000-000000000104");
    (void)rig_value(rig, "UPDATE customers.consumer_cursor SET replay_until = 0 RETURNING ''");
}

/* A visit of another time would free any later or earlier talk of its 24 hours (TMR-02, CON-10). */
static void a_talk_was_a_visit_only_while_that_went_on_TMR_02(void **state)
{
    static const char visit[] = "01900000-0000-7000-8000-0000000000c3";
    static const struct {
        const char *ended_at, *words; /* NULL: taken */
    } open[] = {
        { "2026-11-13T23:59:59.999999Z", "began after the talk" },
        { "2026-11-14T00:00:00Z", NULL },
        { "2026-11-15T00:00:00Z", NULL }, /* nobody has checked out yet */
        { "2026-11-15T00:00:01Z", "was not checked out" },
    }, ended[] = {
        { "2026-11-13T23:00:00Z", "began after the talk" },
        { "2026-11-14T00:30:00Z", NULL },
        { "2026-11-15T01:00:00Z", NULL },
        { "2026-11-15T01:00:01Z", "more than a day before the talk" },
    };
    char customer[ID_TEXT_MAX];

    (void)state;
    snprintf(customer, sizeof(customer), "%s", customer_of("rep", "visited once"));
#define AT                                                                                         \
    "{\"customerId\":\"%s\",\"channel\":\"CHANNEL_IN_PERSON\",\"visitId\":\"%s\",\"endedAt\":\"%"  \
    "s\"}"
    hear_visit("VisitCheckedIn", visit, customer, "rep", "IN_PERSON");
    for (size_t i = 0; i < ARRAY_LEN(open) + ARRAY_LEN(ended); i++) {
        bool is_over = i >= ARRAY_LEN(open);
        const char *at = is_over ? ended[i - ARRAY_LEN(open)].ended_at : open[i].ended_at;
        const char *words = is_over ? ended[i - ARRAY_LEN(open)].words : open[i].words;
        if (i == ARRAY_LEN(open))
            rig_hear(
                rig, &customers_consumer, false, "daybook.visits.v1.VisitEnded",
                "2026-11-14T01:00:00Z",
                "{\"visit\":{\"id\":\"%s\",\"customerId\":\"%s\",\"visitorId\":\"%s\",\"mode\":"
                "\"VISIT_MODE_IN_PERSON\",\"checkIn\":{\"at\":\"2026-11-14T00:00:00Z\"},"
                "\"checkedOutAt\":\"2026-11-14T01:00:00Z\"}}",
                visit, customer, rig_employee_text("rep"));
        print_message("%s, %s\n", at, is_over ? "visit over" : "visit goes on");
        if (words)
            rig_fails(rig, "rep", INTERACTION_SERVICE, "RegisterEnded", ERR_INVALID_ARGUMENT, words,
                      AT, customer, visit, at);
        else
            json_decref(
                rig_ok(rig, "rep", INTERACTION_SERVICE, "RegisterEnded", AT, customer, visit, at));
    }
    rig_fails(rig, "rep", INTERACTION_SERVICE, "RecordInteraction", ERR_INVALID_ARGUMENT,
              "interaction.visit_id",
              "{\"interaction\":{\"content\":\"x\",\"customerId\":\"%s\",\"channel\":"
              "\"CHANNEL_IN_PERSON\",\"visitId\":\"%s\",\"endedAt\":\"%s\"}}",
              customer, visit, "2026-11-13T23:00:00Z");
}

static void a_preliminary_answer_promises_the_final_one_INT_04(void **state)
{
    const char *id = question_of("rep", customer_of("rep", "promised"), "rep");

    (void)state;
#define ANSWER "{\"questionId\":\"%s\",\"answer\":\"x\",\"final\":%s%s}"
    rig_fails(rig, "rep", INTERACTION_SERVICE, "AnswerQuestion", ERR_INVALID_ARGUMENT,
              "when the final answer comes", ANSWER, id, "false", "");
    rig_fails(rig, "rep", INTERACTION_SERVICE, "AnswerQuestion", ERR_INVALID_ARGUMENT,
              "must lie ahead", ANSWER, id, "false",
              ",\"finalPromisedAt\":\"2026-11-16T01:00:00Z\"");
    rig_fails(rig, "rep", INTERACTION_SERVICE, "AnswerQuestion", ERR_INVALID_ARGUMENT,
              "preliminary", ANSWER, id, "true", ",\"finalPromisedAt\":\"2026-11-18T01:00:00Z\"");
}

/* Nobody gives work to whom he does not see; who owns the customer may answer in his stead. */
static void a_question_is_given_to_whom_one_sees_VIS_48(void **state)
{
    char mine[ID_TEXT_MAX];

    (void)state;
    snprintf(mine, sizeof(mine), "%s", customer_of("rep", "asked of another"));
    rig_fails(rig, "rep", INTERACTION_SERVICE, "RecordInteraction", ERR_NOT_FOUND, "employee",
              "{\"interaction\":{\"customerId\":\"%s\",\"channel\":\"CHANNEL_PHONE\",\"content\":"
              "\"x\",\"questions\":[{\"text\":\"a?\",\"assigneeId\":\"%s\"}]}}",
              mine, rig_employee_text("rep2"));
    json_decref(rig_ok(rig, "rep", INTERACTION_SERVICE, "AnswerQuestion", ANSWER,
                       question_of("lead", mine, "rep2"), "true", ""));
    json_decref(rig_ok(rig, "rep2", INTERACTION_SERVICE, "AnswerQuestion", ANSWER,
                       question_of("lead", mine, "rep2"), "true", ""));
    rig_fails(rig, "rep2", INTERACTION_SERVICE, "AnswerQuestion", ERR_NOT_FOUND, "question", ANSWER,
              question_of("lead", mine, "rep"), "true", "");
}

/* Kinds and a half-open period; a page goes on in the same (INT-22). */
static void a_timeline_shows_what_is_asked_for_INT_22(void **state)
{
    static const struct {
        const char *more;
        const char *want;
    } cases[] = {
        { "\"kinds\":[\"TIMELINE_KIND_ORDER\"]", "order of CNY 0.07 order of CNY 10.00 " },
        { "\"kinds\":[\"TIMELINE_KIND_ORDER\",\"TIMELINE_KIND_PAYMENT\"]",
          "payment of CNY 0.05 order of CNY 0.07 order of CNY 10.00 " },
        { "\"from\":\"2026-11-01T00:00:00Z\",\"to\":\"2026-11-02T00:00:00Z\"",
          "order of CNY 10.00 " },
        { "\"from\":\"2026-11-02T00:00:00Z\",\"to\":\"2026-11-16T00:00:00Z\"",
          "payment of CNY 0.05 order of CNY 0.07 " },
        { "\"kinds\":[\"TIMELINE_KIND_VISIT\"]", "visit ended visit ended " },
    };
    char id[ID_TEXT_MAX], token[2048];

    (void)state;
    snprintf(id, sizeof(id), "%s", customer_of("rep", "filtered"));
    for (int i = 0; i < 2; i++)
        json_decref(rig_ok(rig, "rep", DEAL_SERVICE, "RecordOrder",
                           "{\"order\":{\"customerId\":\"%s\",\"kind\":\"ORDER_KIND_ORDER\","
                           "\"orderedAt\":\"2026-11-0%dT00:00:00Z\",\"amount\":{\"currencyCode\":"
                           "\"CNY\",\"minorUnits\":\"%d\"}}}",
                           id, i + 1, i ? 7 : 1000));
    json_decref(rig_ok(rig, "rep", DEAL_SERVICE, "RecordPayment",
                       "{\"payment\":{\"customerId\":\"%s\",\"paidAt\":\"2026-11-03T00:00:00Z\","
                       "\"amount\":{\"currencyCode\":\"CNY\",\"minorUnits\":\"5\"}}}",
                       id));
    static const char *const visits[] = { "2026-12-01T00:00:00Z", "2026-10-01T00:00:00Z" };
    for (size_t i = 0; i < ARRAY_LEN(visits); i++) /* the latest contact stays (4.3) */
        rig_hear(
            rig, &customers_consumer, false, "daybook.visits.v1.VisitEnded", visits[i],
            "{\"visit\":{\"id\":\"01900000-0000-7000-8000-0000000000c2\",\"customerId\":\"%s\","
            "\"checkedOutAt\":\"%s\"}}",
            id, visits[i]);
    json_t *got = rig_ok(rig, "rep", CUSTOMER_SERVICE, "Get", "{\"id\":\"%s\"}", id);
    assert_string_equal(rig_text(got, "customer.lastContactAt"), "2026-12-01T00:00:00Z");
    json_decref(got);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char seen[512] = "";
        token[0] = '\0';
        do {
            json_t *page = rig_ok(rig, "rep", CUSTOMER_SERVICE, "GetTimeline",
                                  "{\"customerId\":\"%s\",\"pageSize\":1,\"pageToken\":\"%s\",%s}",
                                  id, token, cases[i].more);
            size_t len = strlen(seen);
            if (*rig_text(page, "entries.0.summary"))
                snprintf(seen + len, sizeof(seen) - len, "%s ",
                         rig_text(page, "entries.0.summary"));
            snprintf(token, sizeof(token), "%s", rig_text(page, "nextPageToken"));
            json_decref(page);
        } while (*token);
        if (strncmp(seen, cases[i].want, sizeof(seen)) != 0)
            fail_msg("%s: '%s'", cases[i].more, seen);
    }
    rig_fails(rig, "rep", CUSTOMER_SERVICE, "GetTimeline", ERR_INVALID_ARGUMENT, "before from",
              "{\"customerId\":\"%s\",\"from\":\"2026-11-02T00:00:00Z\",\"to\":"
              "\"2026-11-01T00:00:00Z\"}",
              id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lateness_is_counted_as_the_reminder_counts_CON_10),
        cmocka_unit_test(a_talk_in_person_is_late_unless_it_was_a_visit_CON_10),
        cmocka_unit_test(a_talk_was_a_visit_that_its_visitor_made_in_person_CON_10),
        cmocka_unit_test(a_talk_was_a_visit_only_while_that_went_on_TMR_02),
        cmocka_unit_test(a_preliminary_answer_promises_the_final_one_INT_04),
        cmocka_unit_test(a_question_is_given_to_whom_one_sees_VIS_48),
        cmocka_unit_test(a_timeline_shows_what_is_asked_for_INT_22),
        cmocka_unit_test(nobody_records_in_the_name_of_one_he_does_not_see_INT_01),
        cmocka_unit_test(who_must_write_the_record_may_write_it_TMR_02),
        cmocka_unit_test(the_contact_of_a_communication_is_the_customers),
        cmocka_unit_test(a_timeline_with_many_entries_of_one_moment_is_whole_INT_22),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
