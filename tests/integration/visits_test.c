/*
 * The visits daemon's handlers on a real PostgreSQL: a visit from request to closed report, outings
 * nobody applied for, slots that clash.
 */
#include "tests/integration/visits_fixture.h"

static void a_visit_goes_from_request_to_closed_report(void **state)
{
    (void)state;
    rig_time(rig, "2026-11-16T01:00:00Z");
    (void)rig_events(rig);
    const char *id = request("2026-11-17");
    json_t *got = rig_ok(rig, "lead", VISIT_SERVICE, "Get", "{\"id\":\"%s\"}", id);
    assert_string_equal(rig_text(got, "visit.place"), "月季路90号");
    assert_string_equal(rig_text(got, "visit.state"), "VISIT_STATE_REQUESTED");
    json_decref(got);
    rig_fails(rig, "rep", VISIT_SERVICE, "Review", ERR_PERMISSION_DENIED, "",
              "{\"visitId\":\"%s\",\"approve\":true}", id);
    rig_fails(rig, "sup", VISIT_SERVICE, "Review", ERR_INVALID_ARGUMENT, "comment",
              "{\"visitId\":\"%s\"}", id);
    json_decref(
        rig_ok(rig, "sup", VISIT_SERVICE, "Review", "{\"visitId\":\"%s\",\"approve\":true}", id));
    assert_string_equal(rig_events(rig), "VisitRequested AccessRecorded VisitApproved");

    rig_time(rig, "2026-11-17T05:55:00Z");
    json_t *in = rig_ok(rig, "rep", VISIT_SERVICE, "CheckIn",
                        "{\"visitId\":\"%s\",\"position\":{\"latitude\":31.21,\"longitude\":121.4},"
                        "\"accuracyM\":30}",
                        id);
    assert_string_equal(rig_text(in, "visit.unregistered"), "");
    assert_string_equal(rig_text(in, "visit.lateArrival"), "");
    assert_string_equal(rig_text(in, "visit.checkIn.far"), "true"); /* 1.1 km away */
    json_decref(in);
    rig_fails(rig, "rep", VISIT_SERVICE, "SubmitReport", ERR_FAILED_PRECONDITION, "checked_in",
              "{\"visitId\":\"%s\"," REPORT "}", id, ",\"noCommitments\":true");
    rig_time(rig, "2026-11-17T07:00:00Z");
    json_decref(rig_ok(rig, "rep", VISIT_SERVICE, "CheckOut", "{\"visitId\":\"%s\"}", id));
    rig_fails(rig, "rep", VISIT_SERVICE, "SubmitReport", ERR_INVALID_ARGUMENT, "no_commitments",
              "{\"visitId\":\"%s\"," REPORT "}", id, "");

    rig_time(rig, "2026-11-18T07:00:01Z"); /* 24 h and a second after the end: late (TMR-03) */
    json_t *reported = rig_ok(rig, "rep", VISIT_SERVICE, "SubmitReport",
                              "{\"visitId\":\"%s\"," REPORT ",\"commitments\":[{\"text\":\"dated\","
                              "\"dueAt\":\"2026-11-19T00:00:00Z\"},{\"text\":\"undated\"}]}",
                              id, "");
    assert_string_equal(rig_text(reported, "visit.report.late"), "true");
    assert_string_equal(rig_text(reported, "visit.report.missedFinal"), "");
    assert_string_equal(rig_text(reported, "commitments.1.undated"), "true");
    assert_string_equal(rig_text(reported, "commitments.1.dueAt"), "2026-11-19T07:00:01Z");
    json_decref(reported);
    json_decref(rig_ok(rig, "sup", VISIT_SERVICE, "ReviewReport",
                       "{\"visitId\":\"%s\",\"comment\":\"more\"}", id));
    json_t *again = rig_ok(rig, "rep", VISIT_SERVICE, "SubmitReport",
                           "{\"visitId\":\"%s\"," REPORT "}", id, "");
    assert_string_equal(rig_text(again, "visit.report.late"),
                        "true"); /* correcting excuses nothing */
    json_decref(again);
    json_decref(rig_ok(rig, "sup", VISIT_SERVICE, "ReviewReport",
                       "{\"visitId\":\"%s\",\"accept\":true}", id));
    assert_string_equal(rig_events(rig),
                        "VisitCheckedIn VisitEnded VisitReported CommitmentMade CommitmentMade "
                        "VisitReportReviewed VisitReported VisitReportReviewed");
    rig_fails(rig, "rep", VISIT_SERVICE, "CheckIn", ERR_FAILED_PRECONDITION, "closed",
              "{\"visitId\":\"%s\"}", id);
}

/* The marks are counted as TMR-03 and TMR-05 are: in working hours if the company counts so, and by
 * a rule that changed while the time ran. */
static void the_marks_agree_with_the_duties_CON_10_REM_09(void **state)
{
    static const struct {
        const char *key, *value, *from, *submitted_at, *late, *missed_final;
    } cases[] = {
        { NULL, NULL, NULL, "2026-11-28T08:00:00Z", "", "" },
        { NULL, NULL, NULL, "2026-11-28T08:00:01Z", "true", "" },
        { NULL, NULL, NULL, "2026-11-29T08:00:01Z", "true", "true" },
        /* 2 hours on Friday, 9 on Monday and Tuesday, 4 on Wednesday until 13:00; days have 24 */
        { "hour_clock", "business", "2026-11-01T00:00:00Z", "2026-12-02T05:00:00Z", "", "true" },
        { "hour_clock", "business", "2026-11-01T00:00:00Z", "2026-12-02T05:00:01Z", "true",
          "true" },
        { "visit_report_due_hours", "30", "2026-11-28T00:00:00Z", "2026-11-28T14:00:00Z", "", "" },
        { "visit_report_due_hours", "30", "2026-11-28T08:00:01Z", "2026-11-28T14:00:00Z", "true",
          "" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (cases[i].key)
            rig_set_policy(cases[i].key, cases[i].value, cases[i].from);
        json_t *reported = report(ended_on_friday(), cases[i].submitted_at);
        assert_string_equal(rig_text(reported, "visit.report.late"), cases[i].late);
        assert_string_equal(rig_text(reported, "visit.report.missedFinal"), cases[i].missed_final);
        json_decref(reported);
        rig_clear_policies();
    }
}

static void an_outing_nobody_applied_for_is_taken_and_flagged_VIS_22(void **state)
{
    (void)state;
    rig_time(rig, "2026-11-19T02:00:00Z");
    (void)rig_events(rig);
    json_t *in = rig_ok(rig, "rep2", VISIT_SERVICE, "CheckIn", "{\"customerId\":\"" CUSTOMER "\"}");
    assert_string_equal(rig_text(in, "visit.unregistered"), "true");
    assert_string_equal(rig_text(in, "visit.checkIn.distanceM"), "-1");
    json_decref(in);
    const char *id = request("2026-11-20");
    rig_time(rig, "2026-11-20T06:30:00Z");
    in =
        rig_ok(rig, "rep", VISIT_SERVICE, "CheckIn", "{\"visitId\":\"%s\"}", id); /* not approved */
    assert_string_equal(rig_text(in, "visit.unregistered"), "true");
    assert_string_equal(rig_text(in, "visit.lateArrival"), "true");
    json_decref(in);
    assert_string_equal(rig_events(rig), "VisitCheckedIn UnregisteredVisitFlagged VisitRequested "
                                         "VisitCheckedIn UnregisteredVisitFlagged");
    rig_fails(rig, "rep", VISIT_SERVICE, "CheckIn", ERR_INVALID_ARGUMENT, "visit_id", "{}");
}

/* Of a visit at 14:00 local, approved: what was approved holds for its day and its window. */
static void on_another_day_the_approved_visit_is_unregistered_CON_04(void **state)
{
    static const struct {
        const char *now, *unregistered;
    } cases[] = {
        { "2027-01-05T15:59:59Z", "true" }, /* 23:59:59 on the day before */
        { "2027-01-05T16:00:00Z", "" },
        { "2027-01-06T15:59:59Z", "" },
        { "2027-01-06T16:00:00Z", "true" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        rig_time(rig, "2027-01-04T01:00:00Z");
        const char *id = request("2027-01-06");
        json_decref(rig_ok(rig, "sup", VISIT_SERVICE, "Review",
                           "{\"visitId\":\"%s\",\"approve\":true}", id));
        (void)rig_events(rig);
        rig_time(rig, cases[i].now);
        json_t *in = rig_ok(rig, "rep", VISIT_SERVICE, "CheckIn", "{\"visitId\":\"%s\"}", id);
        assert_string_equal(rig_text(in, "visit.unregistered"), cases[i].unregistered);
        json_decref(in);
        assert_string_equal(rig_events(rig), *cases[i].unregistered
                                                 ? "VisitCheckedIn UnregisteredVisitFlagged"
                                                 : "VisitCheckedIn");
    }
}

/* Else the approved visit stays behind, its visitor is called absent, and a second tap does it
 * again. */
static void an_outing_that_was_applied_for_must_be_named_VIS_22(void **state)
{
    static const char outing[] = "{\"customerId\":\"" CUSTOMER "\"}";

    (void)state;
    rig_time(rig, "2027-01-12T01:00:00Z");
    const char *id = request("2027-01-13");
    rig_time(rig, "2027-01-12T15:59:59Z"); /* the day before: something else */
    json_t *in = rig_ok(rig, "rep", VISIT_SERVICE, "CheckIn", outing);
    char words[80];
    snprintf(words, sizeof(words), "check out of visit %s first", rig_text(in, "visit.id"));
    json_decref(in);
    rig_fails(rig, "rep", VISIT_SERVICE, "CheckIn", ERR_FAILED_PRECONDITION, words, outing);
    rig_time(rig, "2027-01-12T16:00:00Z");
    rig_fails(rig, "rep", VISIT_SERVICE, "CheckIn", ERR_FAILED_PRECONDITION, id, outing);
    json_decref(
        rig_ok(rig, "sup", VISIT_SERVICE, "Review", "{\"visitId\":\"%s\",\"approve\":true}", id));
    rig_fails(rig, "rep", VISIT_SERVICE, "CheckIn", ERR_FAILED_PRECONDITION, "approved", outing);
    json_decref(rig_ok(rig, "rep2", VISIT_SERVICE, "CheckIn", outing)); /* not his */
    json_decref(rig_ok(rig, "rep", VISIT_SERVICE, "CheckIn", "{\"visitId\":\"%s\"}", id));
    snprintf(words, sizeof(words), "check out of visit %s first", id);
    rig_fails(rig, "rep", VISIT_SERVICE, "CheckIn", ERR_FAILED_PRECONDITION, words, outing);
    json_decref(rig_ok(rig, "rep", VISIT_SERVICE, "CheckOut", "{\"visitId\":\"%s\"}", id));
    json_decref(rig_ok(rig, "rep", VISIT_SERVICE, "CheckIn", outing)); /* he came back */
}

/* One who has forgotten to check out is not kept from the customer for ever. */
static void a_check_in_of_yesterday_is_in_nobodys_way(void **state)
{
    (void)state;
    rig_time(rig, "2027-01-19T01:00:00Z");
    json_decref(rig_ok(rig, "rep2", VISIT_SERVICE, "CheckIn", "{\"customerId\":\"" CUSTOMER "\"}"));
    rig_time(rig, "2027-01-19T16:00:00Z");
    json_decref(rig_ok(rig, "rep2", VISIT_SERVICE, "CheckIn", "{\"customerId\":\"" CUSTOMER "\"}"));
}

/* VIS-01 and form F2: what nobody said beforehand the report says. */
static void the_report_says_what_an_unplanned_visit_lacks_VIS_01(void **state)
{
    (void)state;
    rig_time(rig, "2027-01-26T01:00:00Z");
    json_t *in = rig_ok(rig, "rep2", VISIT_SERVICE, "CheckIn", "{\"customerId\":\"" CUSTOMER "\"}");
    const char *id = rig_text(in, "visit.id");
    json_decref(rig_ok(rig, "rep2", VISIT_SERVICE, "CheckOut", "{\"visitId\":\"%s\"}", id));
    for (size_t i = 0; i < 3; i++) {
        static const char *const fields[] = { "purposes", "goal", "place" };
        rig_fails(rig, "rep2", VISIT_SERVICE, "SubmitReport", ERR_INVALID_ARGUMENT, fields[i],
                  "{\"visitId\":\"%s\"," REPORT "}", id, ",\"noCommitments\":true");
    }
    static const char said[] =
        "{\"visitId\":\"%s\"," REPORT
        ",\"purposes\":[\"VISIT_PURPOSE_SOLVE_PROBLEM\"],\"goal\":\"g\",\"place\":\"p\"}";
    json_t *reported =
        rig_ok(rig, "rep2", VISIT_SERVICE, "SubmitReport", said, id, ",\"noCommitments\":true");
    json_decref(reported);
    reported = rig_ok(rig, "rep2", VISIT_SERVICE, "Get", "{\"id\":\"%s\"}", id);
    assert_string_equal(rig_text(reported, "visit.purposes.0"), "VISIT_PURPOSE_SOLVE_PROBLEM");
    assert_string_equal(rig_text(reported, "visit.goal"), "g");
    assert_string_equal(rig_text(reported, "visit.place"), "p");
    json_decref(reported);
    json_decref(rig_ok(rig, "sup", VISIT_SERVICE, "ReviewReport",
                       "{\"visitId\":\"%s\",\"comment\":\"more\"}", id));
    rig_fails(rig, "rep2", VISIT_SERVICE, "SubmitReport", ERR_INVALID_ARGUMENT, "purposes", said,
              id, "");
    json_decref(in);
}

/* VIS-45: with owner and day; F2: who was seen and who was there, which no event tells. */
static void next_steps_have_an_owner_and_a_day_VIS_45(void **state)
{
    static const struct {
        const char *steps, *fault;
        enum err code;
    } cases[] = {
        { "", "next_steps", ERR_INVALID_ARGUMENT },
        { "{\"text\":\"call\"}", "next_steps[0].date", ERR_INVALID_ARGUMENT },
        { "{\"date\":\"2027-02-03\"}", "next_steps[0].text", ERR_INVALID_ARGUMENT },
        { "{\"text\":\"call\",\"date\":\"2027-02-02\"}", "before the visit", ERR_INVALID_ARGUMENT },
        { "{\"text\":\"call\",\"date\":\"2027-02-03\",\"ownerId\":"
          "\"02000000-0000-7000-8000-000000000005\"}",
          "employee", ERR_NOT_FOUND },
        { "{\"text\":\"call\",\"date\":\"2027-02-03\",\"ownerId\":"
          "\"02000000-0000-7000-8000-000000000007\"}",
          "next_steps[0].owner_id", ERR_INVALID_ARGUMENT },
    };
    static const char report[] =
        "{\"visitId\":\"%s\",\"report\":{\"participants\":[\"Zhao\"],\"content\":\"c\",\"needs\":"
        "\"n\",\"feedback\":\"f\",\"outcome\":\"GOAL_OUTCOME_MET\",\"contactName\":\"Li\","
        "\"contactPosition\":\"owner\",\"salesOutcome\":\"SALES_OUTCOME_ORDER\",\"noCommitments\":"
        "true,\"nextSteps\":[%s]}}";

    (void)state;
    rig_time(rig, "2027-02-02T01:00:00Z");
    const char *id = request("2027-02-02");
    json_decref(rig_ok(rig, "rep", VISIT_SERVICE, "CheckIn", "{\"visitId\":\"%s\"}", id));
    rig_time(rig, "2027-02-02T16:30:00Z"); /* past local midnight: the 3rd */
    json_decref(rig_ok(rig, "rep", VISIT_SERVICE, "CheckOut", "{\"visitId\":\"%s\"}", id));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        rig_fails(rig, "rep", VISIT_SERVICE, "SubmitReport", cases[i].code, cases[i].fault, report,
                  id, cases[i].steps);
    (void)rig_events(rig);
    json_t *reported = rig_ok(rig, "rep", VISIT_SERVICE, "SubmitReport", report, id,
                              "{\"text\":\"call\",\"date\":\"2027-02-03\"}");
    assert_string_equal(rig_text(reported, "visit.report.nextSteps.0.ownerId"),
                        rig_employee_text("rep"));
    assert_string_equal(rig_text(reported, "visit.report.contactName"), "Li");
    json_decref(reported);
    json_decref(rig_ok(rig, "sup", VISIT_SERVICE, "ReviewReport",
                       "{\"visitId\":\"%s\",\"accept\":true}", id));
    assert_string_equal(
        rig_value(rig, "SELECT count(*) || ' ' || count(*) FILTER (WHERE position('Li'::bytea IN "
                       "payload) > 0 OR position('Zhao'::bytea IN payload) > 0) FROM bus.outbox"),
        "2 0");
    reported = rig_ok(rig, "lead", VISIT_SERVICE, "Get", "{\"id\":\"%s\"}", id);
    assert_string_equal(rig_text(reported, "visit.report.contactName"), "Li");
    assert_string_equal(rig_text(reported, "visit.report.participants.0"), "Zhao");
    assert_string_equal(rig_text(reported, "visit.report.nextSteps.0.date"), "2027-02-03");
    json_decref(reported);
}

/* VIS-02, CUS-02: the person to be seen is fixed before, and is one of that customer. */
static void a_request_says_who_is_to_be_seen_VIS_02(void **state)
{
    static const char other[] = "05000000-0000-7000-8000-000000000055",
                      his[] = "06000000-0000-7000-8000-000000000055";
    static const struct {
        const char *contact, *mode, *fault;
        enum err code;
    } cases[] = {
        { "", "IN_PERSON", "visit.contact_id", ERR_INVALID_ARGUMENT },
        { "", "PHONE", NULL, ERR_OK },
        { "06000000-0000-7000-8000-000000000055", "PHONE", "has no contact", ERR_NOT_FOUND },
        { "06000000-0000-7000-8000-000000000055", "IN_PERSON", "has no contact", ERR_NOT_FOUND },
        { CONTACT, "IN_PERSON", NULL, ERR_OK },
    };
    static const char asked[] =
        "{\"visit\":{\"customerId\":\"" CUSTOMER
        "\",\"contactId\":\"%s\",\"mode\":\"VISIT_MODE_%s\","
        "\"purposes\":[\"VISIT_PURPOSE_NEEDS_SURVEY\"],\"startsAt\":\"2027-02-%02dT06:00:00Z\","
        "\"endsAt\":\"2027-02-%02dT07:00:00Z\",\"goal\":\"g\"}}";

    (void)state;
    rig_time(rig, "2027-02-09T01:00:00Z");
    rig_hear(rig, &visits_consumer, true, "daybook.customers.v1.ContactCreated",
             "2027-02-09T00:00:00Z", "{\"contact\":{\"id\":\"%s\",\"customerId\":\"%s\"}}", his,
             other);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int day = 10 + (int)i;
        if (cases[i].code)
            rig_fails(rig, "rep", VISIT_SERVICE, "Request", cases[i].code, cases[i].fault, asked,
                      cases[i].contact, cases[i].mode, day, day);
        else
            json_decref(rig_ok(rig, "rep", VISIT_SERVICE, "Request", asked, cases[i].contact,
                               cases[i].mode, day, day));
    }
}

/* Three of them would tell where a customer is whom one does not see; the row keeps it. */
static void no_distance_from_a_customer_one_does_not_see_F61(void **state)
{
    static const char place[] =
        "\"position\":{\"latitude\":31.21,\"longitude\":121.4},\"accuracyM\":5";
    char id[ID_TEXT_MAX];

    (void)state;
    rig_time(rig, "2027-02-16T01:00:00Z");
    json_t *got = rig_ok(rig, "rep2", VISIT_SERVICE, "CheckIn",
                         "{\"customerId\":\"" CUSTOMER "\",%s}", place);
    snprintf(id, sizeof(id), "%s", rig_text(got, "visit.id"));
    assert_string_equal(rig_text(got, "visit.checkIn.distanceM"), "-1");
    assert_string_equal(rig_text(got, "visit.checkIn.far"), "true");
    json_decref(got);
    got = rig_ok(rig, "rep2", VISIT_SERVICE, "Get", "{\"id\":\"%s\"}", id);
    assert_string_equal(rig_text(got, "visit.checkIn.distanceM"), "-1");
    json_decref(got);
    got = rig_ok(rig, "rep2", VISIT_SERVICE, "CheckOut", "{\"visitId\":\"%s\"}", id);
    assert_string_equal(rig_text(got, "visit.checkIn.distanceM"), "-1");
    json_decref(got);
    for (size_t i = 0; i < 2; i++) {
        static const char *const askers[] = { "rep2", "lead" }; /* "lead" sees "rep", the owner */
        got = rig_ok(rig, askers[i], VISIT_SERVICE, "List",
                     "{\"visitorId\":\"%s\",\"from\":\"2027-02-16T00:00:00Z\"}",
                     rig_employee_text("rep2"));
        assert_string_equal(rig_text(got, "visits.0.id"), id);
        assert_int_equal(strcmp(rig_text(got, "visits.0.checkIn.distanceM"), "-1") == 0, i == 0);
        json_decref(got);
    }
    got = rig_ok(rig, "lead", VISIT_SERVICE, "Get", "{\"id\":\"%s\"}", id);
    assert_string_not_equal(rig_text(got, "visit.checkIn.distanceM"), "-1");
    json_decref(got);
}

static void by_phone_nobody_goes_out_CON_07(void **state)
{
    (void)state;
    rig_time(rig, "2026-11-19T02:00:00Z");
    (void)rig_events(rig);
    json_t *asked =
        rig_ok(rig, "rep", VISIT_SERVICE, "Request",
               "{\"visit\":{" OBJECT
               ",\"purposes\":[\"VISIT_PURPOSE_NEEDS_SURVEY\"],\"mode\":\"VISIT_MODE_PHONE\","
               "\"startsAt\":\"2026-11-23T06:00:00Z\",\"endsAt\":\"2026-11-23T07:00:00Z\",\"goal\":"
               "\"g\"}}");
    rig_time(rig, "2026-11-23T06:00:00Z");
    json_t *in = rig_ok(rig, "rep", VISIT_SERVICE, "CheckIn",
                        "{\"visitId\":\"%s\",\"position\":{\"latitude\":39.9,\"longitude\":116.4}}",
                        rig_text(asked, "visit.id"));
    assert_string_equal(rig_text(in, "visit.unregistered"), "");
    assert_string_equal(rig_text(in, "visit.checkIn.far"), "");
    assert_string_equal(rig_events(rig), "VisitRequested VisitCheckedIn");
    json_decref(in);
    json_decref(asked);
}

/* Neither what only reviewers write, nor where a customer is whom the caller does not see. */
static void a_request_cannot_forge_and_shows_no_address_F61(void **state)
{
    (void)state;
    rig_time(rig, "2026-11-16T01:00:00Z");
    json_t *asked = rig_ok(rig, "rep2", VISIT_SERVICE, "Request",
                           "{\"visit\":{" OBJECT ",\"purposes\":[\"VISIT_PURPOSE_NEEDS_SURVEY\"],"
                           "\"reviewedBy\":\"%s\",\"reviewComment\":\"fine\","
                           "\"startsAt\":\"2026-12-23T06:00:00Z\",\"endsAt\":\"2026-12-23T07:00:"
                           "00Z\",\"goal\":\"g\"}}",
                           rig_employee_text("gm"));
    assert_string_equal(rig_text(asked, "visit.reviewedBy"), "");
    assert_string_equal(rig_text(asked, "visit.reviewComment"), "");
    assert_string_equal(rig_text(asked, "visit.place"), "");
    json_decref(asked);
    json_t *in = rig_ok(rig, "rep2", VISIT_SERVICE, "CheckIn", "{\"customerId\":\"" CUSTOMER "\"}");
    assert_string_equal(rig_text(in, "visit.place"), "");
    json_decref(in);
    json_t *made =
        rig_ok(rig, "rep", COMMITMENT_SERVICE, "Add",
               "{\"commitment\":{\"customerId\":\"" CUSTOMER
               "\",\"text\":\"t\",\"result\":\"done\",\"dueAt\":\"2026-11-17T01:00:00Z\"}}");
    assert_string_equal(rig_text(made, "commitment.result"), "");
    json_decref(rig_ok(rig, "rep", COMMITMENT_SERVICE, "Cancel",
                       "{\"commitmentId\":\"%s\",\"reason\":\"r\"}",
                       rig_text(made, "commitment.id")));
    json_decref(made);
}

/* The event of the file may be parked while tiers go on; in the end a rebuild must agree. */
static void a_tier_may_come_before_the_file(void **state)
{
    static const char id[] = "05000000-0000-7000-8000-000000000077";

    (void)state;
    rig_hear(rig, &visits_consumer, false, "daybook.scoring.v1.CustomerTierChanged",
             "2026-11-16T00:00:00Z", "{\"customerId\":\"%s\",\"newTier\":\"TIER_B\"}", id);
    rig_fails(rig, "gm", VISIT_SERVICE, "CheckIn", ERR_NOT_FOUND, "customer",
              "{\"customerId\":\"%s\"}", id);
    rig_hear(rig, &visits_consumer, false, "daybook.customers.v1.CustomerCreated",
             "2026-11-16T00:00:00Z",
             "{\"customer\":{\"id\":\"%s\",\"name\":\"late\",\"ownerId\":\"%s\"}}", id,
             rig_employee_text("rep"));
    assert_string_equal(rig_value(rig, "SELECT tier || name FROM visits.customer WHERE id = "
                                       "'05000000-0000-7000-8000-000000000077'"),
                        "blate");
}

/* Nobody stands above the general manager, and nobody approves his own (ORG-02, ORG-05). */
static void the_general_managers_visit_needs_no_approval_ORG_05(void **state)
{
    (void)state;
    rig_time(rig, "2026-12-01T01:00:00Z");
    (void)rig_events(rig);
    json_t *asked = rig_ok(rig, "gm", VISIT_SERVICE, "Request",
                           "{\"visit\":{" OBJECT ",\"purposes\":[\"VISIT_PURPOSE_NEEDS_SURVEY\"],"
                           "\"startsAt\":\"2026-12-01T06:00:00Z\",\"endsAt\":\"2026-12-01T07:00:"
                           "00Z\",\"goal\":\"g\"}}");
    char id[ID_TEXT_MAX];
    snprintf(id, sizeof(id), "%s", rig_text(asked, "visit.id"));
    assert_string_equal(rig_text(asked, "visit.state"), "VISIT_STATE_APPROVED");
    assert_string_equal(rig_text(asked, "visit.reviewedBy"), "");
    assert_non_null(strstr(rig_text(asked, "visit.reviewComment"), "by rule"));
    json_decref(asked);
    rig_time(rig, "2026-12-01T05:55:00Z");
    json_t *in = rig_ok(rig, "gm", VISIT_SERVICE, "CheckIn", "{\"visitId\":\"%s\"}", id);
    assert_string_equal(rig_text(in, "visit.unregistered"), "");
    json_decref(in);
    rig_time(rig, "2026-12-01T07:00:00Z");
    json_decref(rig_ok(rig, "gm", VISIT_SERVICE, "CheckOut", "{\"visitId\":\"%s\"}", id));
    json_t *reported = rig_ok(rig, "gm", VISIT_SERVICE, "SubmitReport",
                              "{\"visitId\":\"%s\"," REPORT "}", id, ",\"noCommitments\":true");
    assert_string_equal(rig_text(reported, "visit.state"), "VISIT_STATE_CLOSED");
    json_decref(reported);
    assert_string_equal(rig_events(rig), "VisitRequested VisitApproved VisitCheckedIn VisitEnded "
                                         "VisitReported VisitReportReviewed");
}

static void a_slot_is_given_once(void **state)
{
    (void)state;
    rig_time(rig, "2026-11-16T01:00:00Z");
    const char *id = request("2026-12-01");
    rig_fails(rig, "rep", VISIT_SERVICE, "Request", ERR_ALREADY_EXISTS, "slot",
              "{\"visit\":{" OBJECT ",\"purposes\":[\"VISIT_PURPOSE_NEEDS_SURVEY\"],"
              "\"startsAt\":\"2026-12-01T06:30:00Z\",\"endsAt\":\"2026-12-01T07:30:00Z\",\"goal\":"
              "\"g\"}}");
    json_decref(
        rig_ok(rig, "rep", VISIT_SERVICE, "Cancel", "{\"visitId\":\"%s\",\"reason\":\"r\"}", id));
    (void)request("2026-12-01"); /* free again */
}

static void what_is_wrong_is_said_and_others_see_nothing(void **state)
{
    (void)state;
    rig_time(rig, "2026-11-16T01:00:00Z");
    const char *id = request("2026-12-02");
    rig_fails(rig, "rep2", VISIT_SERVICE, "Get", ERR_NOT_FOUND, "", "{\"id\":\"%s\"}", id);
    rig_fails(rig, "other", VISIT_SERVICE, "Get", ERR_NOT_FOUND, "", "{\"id\":\"%s\"}", id);
    rig_fails(rig, "lead", VISIT_SERVICE, "CheckIn", ERR_PERMISSION_DENIED, "visitor",
              "{\"visitId\":\"%s\"}", id);
    rig_fails(rig, "rep", VISIT_SERVICE, "Request", ERR_INVALID_ARGUMENT, "visit.purposes",
              "{\"visit\":{\"customerId\":\"" CUSTOMER "\"}}");
    rig_fails(rig, "rep", VISIT_SERVICE, "Request", ERR_INVALID_ARGUMENT, "past",
              "{\"visit\":{" OBJECT ",\"purposes\":[\"VISIT_PURPOSE_NEEDS_SURVEY\"],"
              "\"startsAt\":\"2026-11-01T06:00:00Z\",\"endsAt\":\"2026-11-01T07:00:00Z\",\"goal\":"
              "\"g\"}}");
    rig_fails(rig, "rep", VISIT_SERVICE, "Request", ERR_NOT_FOUND, "customer",
              "{\"visit\":{\"contactId\":\"" CONTACT
              "\",\"customerId\":\"05000000-0000-7000-8000-000000000009\",\"purposes\":["
              "\"VISIT_PURPOSE_NEEDS_SURVEY\"],"
              "\"startsAt\":\"2026-12-03T06:00:00Z\",\"endsAt\":\"2026-12-03T07:00:00Z\",\"goal\":"
              "\"g\"}}");
    json_t *list = rig_ok(rig, "lead", VISIT_SERVICE, "List",
                          "{\"from\":\"2026-12-02T00:00:00Z\",\"to\":\"2026-12-03T00:00:00Z\"}");
    assert_int_equal(json_array_size(json_object_get(list, "visits")), 1);
    json_decref(list);
}

#define MARCH                                                                                      \
    "{\"employeeId\":\"%s\",\"from\":\"2027-03-01T00:00:00Z\",\"to\":\"2027-04-01T00:00:00Z\"%s}"
#define CALENDAR(who) VISIT_SERVICE, "ListCalendar", MARCH, rig_employee_text(who), ""

static void entry_is(json_t *got, const char *const *pairs)
{
    for (; *pairs; pairs += 2) {
        char path[64];
        snprintf(path, sizeof(path), "entries.0.%s", pairs[0]);
        if (strcmp(rig_text(got, path), pairs[1]) != 0)
            fail_msg("%s: %s", path, rig_text(got, path));
    }
    json_decref(got);
}

static void a_calendar_has_what_a_feed_says_VIS_30_EXT_03(void **state)
{
    static const char contact[] = "06000000-0000-7000-8000-000000000009";
    static const char *const requested[] = {
        "state", "VISIT_STATE_REQUESTED", "startsAt", "2027-03-08T06:00:00Z", "endsAt",
        "2027-03-08T07:00:00Z", "mode", "VISIT_MODE_IN_PERSON", "customerName", "海棠路商行",
        "place", "月季路90号", "location.latitude", "31.2", "location.longitude", "121.4", "goal",
        "g", "contactPosition", "Owner", "contactPhone", "138****1234", "sequence", "1",
        "changedAt", "2027-03-01T01:00:00Z",
        /* A Monday, so on Friday. */
        "remindAt", "2027-03-05T06:00:00Z", "departureMinutes", "30", NULL
    };
    static const char *const approved[] = {
        "state",    "VISIT_STATE_APPROVED", "sequence", "2", "changedAt", "2027-03-01T02:00:00Z",
        "remindAt", "2027-03-05T06:00:00Z", NULL
    };
    static const char *const on_the_day[] = { "remindAt", "2027-03-08T05:15:00Z",
                                              "departureMinutes", "45", NULL };
    static const char *const cancelled[] = { "state",     "VISIT_STATE_CANCELLED", "sequence", "3",
                                             "changedAt", "2027-03-01T04:00:00Z",  "remindAt", "",
                                             NULL };
    char id[ID_TEXT_MAX];

    (void)state;
    rig_time(rig, "2027-03-01T01:00:00Z");
    rig_hear(rig, &visits_consumer, false, "daybook.customers.v1.ContactCreated",
             "2026-11-15T00:00:00Z",
             "{\"contact\":{\"id\":\"%s\",\"customerId\":\"" CUSTOMER
             "\",\"position\":\"Owner\",\"phone\":\"138****1234\"}}",
             contact);
    json_t *got =
        rig_ok(rig, "rep", VISIT_SERVICE, "Request",
               "{\"visit\":{\"customerId\":\"" CUSTOMER "\",\"contactId\":\"%s\","
               "\"purposes\":[\"VISIT_PURPOSE_NEEDS_SURVEY\"],\"goal\":\"g\","
               "\"startsAt\":\"2027-03-08T06:00:00Z\",\"endsAt\":\"2027-03-08T07:00:00Z\"}}",
               contact);
    snprintf(id, sizeof(id), "%s", rig_text(got, "visit.id"));
    json_decref(got);
    entry_is(rig_ok(rig, "rep", CALENDAR("rep")), requested);
    rig_time(rig, "2027-03-01T02:00:00Z");
    json_decref(
        rig_ok(rig, "sup", VISIT_SERVICE, "Review", "{\"visitId\":\"%s\",\"approve\":true}", id));
    entry_is(rig_ok(rig, "rep", CALENDAR("rep")), approved);
    rig_set_policy("visit_invite_days_before", "0", "2027-01-01T00:00:00Z");
    rig_set_policy("departure_buffer_minutes", "45", "2027-01-01T00:00:00Z");
    entry_is(rig_ok(rig, "lead", CALENDAR("rep")), on_the_day);
    rig_clear_policies();
    rig_time(rig, "2027-03-01T04:00:00Z");
    json_decref(
        rig_ok(rig, "rep", VISIT_SERVICE, "Cancel", "{\"visitId\":\"%s\",\"reason\":\"ill\"}", id));
    entry_is(rig_ok(rig, "rep", CALENDAR("rep")), cancelled);
}

static void a_calendar_shows_nobody_elses(void **state)
{
    (void)state;
    rig_time(rig, "2027-03-09T01:00:00Z");
    json_decref(rig_ok(rig, "rep2", VISIT_SERVICE, "CheckIn", "{\"customerId\":\"" CUSTOMER "\"}"));
    /* A customer whom he does not see; his lead does. */
    static const char *const unseen[] = {
        "state", "VISIT_STATE_CHECKED_IN", "customerName", "", "location.latitude", "", "place", "",
        NULL
    };
    static const char *const seen[] = { "customerName", "海棠路商行", NULL };
    entry_is(rig_ok(rig, "rep2", CALENDAR("rep2")), unseen);
    entry_is(rig_ok(rig, "lead", CALENDAR("rep2")), seen);
    rig_fails(rig, "rep2", VISIT_SERVICE, "ListCalendar", ERR_NOT_FOUND, "employee", MARCH,
              rig_employee_text("rep"), "");
    rig_fails(rig, "rep2", VISIT_SERVICE, "ListCalendar", ERR_INVALID_ARGUMENT, "to",
              "{\"employeeId\":\"%s\",\"from\":\"2027-03-01T00:00:00Z\"}",
              rig_employee_text("rep2"));
}

static void a_calendar_goes_page_by_page(void **state)
{
    char wanted[3][ID_TEXT_MAX], more[400] = "";

    (void)state;
    rig_time(rig, "2027-03-01T01:00:00Z");
    snprintf(wanted[0], ID_TEXT_MAX, "%s", request("2027-03-16"));
    snprintf(wanted[1], ID_TEXT_MAX, "%s", request("2027-03-17"));
    snprintf(wanted[2], ID_TEXT_MAX, "%s", request("2027-03-18"));
    json_t *got = NULL;
    for (int i = -1; i < 3; i++) { /* the cancelled one comes first */
        got = rig_ok(rig, "rep", VISIT_SERVICE, "ListCalendar", MARCH, rig_employee_text("rep"),
                     *more ? more : ",\"pageSize\":1");
        if (i >= 0)
            assert_string_equal(rig_text(got, "entries.0.visitId"), wanted[i]);
        assert_string_equal(rig_text(got, "entries.1.visitId"), "");
        snprintf(more, sizeof(more), ",\"pageSize\":1,\"pageToken\":\"%s\"",
                 rig_text(got, "nextPageToken"));
        if (i == 2)
            assert_string_equal(rig_text(got, "nextPageToken"), "");
        json_decref(got);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_visit_goes_from_request_to_closed_report),
        cmocka_unit_test(the_marks_agree_with_the_duties_CON_10_REM_09),
        cmocka_unit_test(an_outing_nobody_applied_for_is_taken_and_flagged_VIS_22),
        cmocka_unit_test(on_another_day_the_approved_visit_is_unregistered_CON_04),
        cmocka_unit_test(an_outing_that_was_applied_for_must_be_named_VIS_22),
        cmocka_unit_test(a_check_in_of_yesterday_is_in_nobodys_way),
        cmocka_unit_test(the_report_says_what_an_unplanned_visit_lacks_VIS_01),
        cmocka_unit_test(next_steps_have_an_owner_and_a_day_VIS_45),
        cmocka_unit_test(a_request_says_who_is_to_be_seen_VIS_02),
        cmocka_unit_test(no_distance_from_a_customer_one_does_not_see_F61),
        cmocka_unit_test(by_phone_nobody_goes_out_CON_07),
        cmocka_unit_test(a_request_cannot_forge_and_shows_no_address_F61),
        cmocka_unit_test(a_tier_may_come_before_the_file),
        cmocka_unit_test(the_general_managers_visit_needs_no_approval_ORG_05),
        cmocka_unit_test(a_slot_is_given_once),
        cmocka_unit_test(what_is_wrong_is_said_and_others_see_nothing),
        cmocka_unit_test(a_calendar_has_what_a_feed_says_VIS_30_EXT_03),
        cmocka_unit_test(a_calendar_shows_nobody_elses),
        cmocka_unit_test(a_calendar_goes_page_by_page),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
