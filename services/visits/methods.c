/*
 * methods.c - which method is answered by whom, and what its request must look like.
 */
#include "common/consumer_service.h"
#include "services/visits/visits.h"

static const struct check request_checks[] = {
    { "visit", CHECK_REQUIRED, 0, 0 },
    { "visit.customer_id", CHECK_REQUIRED | CHECK_ID, 0, 0 },
    { "visit.contact_id", CHECK_ID, 0, 0 },
    { "visit.visitor_id", CHECK_ID, 0, 0 },
    { "visit.purposes", CHECK_REQUIRED | CHECK_COUNT, 1, 12 },
    { "visit.purposes[]", CHECK_REQUIRED | CHECK_ENUM, 0, 0 },
    { "visit.mode", CHECK_ENUM, 0, 0 },
    { "visit.starts_at", CHECK_REQUIRED | CHECK_TIME, 0, 0 },
    { "visit.ends_at", CHECK_REQUIRED | CHECK_TIME, 0, 0 },
    { "visit.place", CHECK_LENGTH, 0, 300 },
    { "visit.goal", CHECK_REQUIRED | CHECK_LENGTH, 1, 1000 },
    { NULL, 0, 0, 0 },
};
static const struct check review_checks[] = {
    { "visit_id", CHECK_REQUIRED | CHECK_ID, 0, 0 },
    { "comment", CHECK_LENGTH, 0, 1000 },
    { NULL, 0, 0, 0 },
};
static const struct check cancel_checks[] = {
    { "visit_id", CHECK_REQUIRED | CHECK_ID, 0, 0 },
    { "reason", CHECK_REQUIRED | CHECK_LENGTH, 1, 1000 },
    { NULL, 0, 0, 0 },
};
static const struct check check_in_checks[] = {
    { "visit_id", CHECK_ID, 0, 0 },
    { "customer_id", CHECK_ID, 0, 0 },
    { "position.latitude", CHECK_RANGE, -90, 90 },
    { "position.longitude", CHECK_RANGE, -180, 180 },
    { "accuracy_m", CHECK_RANGE, 0, 100000 },
    { "device_at", CHECK_TIME, 0, 0 },
    { NULL, 0, 0, 0 },
};
static const struct check visit_id_checks[] = {
    { "visit_id", CHECK_REQUIRED | CHECK_ID, 0, 0 },
    { NULL, 0, 0, 0 },
};
static const struct check report_checks[] = {
    { "visit_id", CHECK_REQUIRED | CHECK_ID, 0, 0 },
    { "report", CHECK_REQUIRED, 0, 0 },
    { "report.participants", CHECK_REQUIRED | CHECK_COUNT, 1, 20 },
    { "report.participants[]", CHECK_REQUIRED | CHECK_LENGTH, 1, 100 },
    { "report.content", CHECK_REQUIRED | CHECK_LENGTH, 1, 8000 },
    { "report.needs", CHECK_REQUIRED | CHECK_LENGTH, 1, 2000 },
    { "report.feedback", CHECK_REQUIRED | CHECK_LENGTH, 1, 2000 },
    { "report.solution", CHECK_LENGTH, 0, 2000 },
    { "report.outcome", CHECK_REQUIRED | CHECK_ENUM, 0, 0 },
    { "report.outcome_reason", CHECK_LENGTH, 0, 2000 },
    { "report.contact_name", CHECK_REQUIRED | CHECK_LENGTH, 1, 100 },
    { "report.contact_position", CHECK_REQUIRED | CHECK_LENGTH, 1, 100 },
    { "report.sales_outcome", CHECK_REQUIRED | CHECK_ENUM, 0, 0 },
    { "report.next_steps", CHECK_REQUIRED | CHECK_COUNT, 1, 20 },
    { "report.next_steps[].text", CHECK_REQUIRED | CHECK_LENGTH, 1, 2000 },
    { "report.next_steps[].owner_id", CHECK_ID, 0, 0 },
    { "report.next_steps[].date", CHECK_REQUIRED | CHECK_DATE, 0, 0 },
    { "commitments", CHECK_COUNT, 0, 50 },
    { "commitments[].text", CHECK_REQUIRED | CHECK_LENGTH, 1, 2000 },
    { "commitments[].owner_id", CHECK_ID, 0, 0 },
    { "commitments[].promised_at", CHECK_TIME, 0, 0 },
    { "commitments[].due_at", CHECK_TIME, 0, 0 },
    { "purposes", CHECK_COUNT, 0, 12 },
    { "purposes[]", CHECK_REQUIRED | CHECK_ENUM, 0, 0 },
    { "goal", CHECK_LENGTH, 0, 1000 },
    { "place", CHECK_LENGTH, 0, 300 },
    { NULL, 0, 0, 0 },
};
static const struct check review_report_checks[] = {
    { "visit_id", CHECK_REQUIRED | CHECK_ID, 0, 0 },
    { "comment", CHECK_LENGTH, 0, 2000 },
    { NULL, 0, 0, 0 },
};
static const struct check get_checks[] = {
    { "id", CHECK_REQUIRED | CHECK_ID, 0, 0 },
    { NULL, 0, 0, 0 },
};
static const struct check list_checks[] = {
    { "visitor_id", CHECK_ID, 0, 0 },
    { "customer_id", CHECK_ID, 0, 0 },
    { "from", CHECK_TIME, 0, 0 },
    { "to", CHECK_TIME, 0, 0 },
    { NULL, 0, 0, 0 },
};
static const struct check calendar_checks[] = {
    { "employee_id", CHECK_REQUIRED | CHECK_ID, 0, 0 },
    { "from", CHECK_REQUIRED | CHECK_TIME, 0, 0 },
    { "to", CHECK_REQUIRED | CHECK_TIME, 0, 0 },
    { NULL, 0, 0, 0 },
};
static const struct check add_checks[] = {
    { "commitment", CHECK_REQUIRED, 0, 0 },
    { "commitment.customer_id", CHECK_REQUIRED | CHECK_ID, 0, 0 },
    { "commitment.visit_id", CHECK_ID, 0, 0 },
    { "commitment.owner_id", CHECK_ID, 0, 0 },
    { "commitment.text", CHECK_REQUIRED | CHECK_LENGTH, 1, 2000 },
    { "commitment.promised_at", CHECK_TIME, 0, 0 },
    { "commitment.due_at", CHECK_TIME, 0, 0 },
    { NULL, 0, 0, 0 },
};
static const struct check complete_checks[] = {
    { "commitment_id", CHECK_REQUIRED | CHECK_ID, 0, 0 },
    { "result", CHECK_REQUIRED | CHECK_LENGTH, 1, 2000 },
    { "fulfilled_at", CHECK_TIME, 0, 0 },
    { NULL, 0, 0, 0 },
};
static const struct check cancel_commitment_checks[] = {
    { "commitment_id", CHECK_REQUIRED | CHECK_ID, 0, 0 },
    { "reason", CHECK_REQUIRED | CHECK_LENGTH, 1, 1000 },
    { NULL, 0, 0, 0 },
};
static const struct check list_commitments_checks[] = {
    { "owner_id", CHECK_ID, 0, 0 },
    { "customer_id", CHECK_ID, 0, 0 },
    { "visit_id", CHECK_ID, 0, 0 },
    { NULL, 0, 0, 0 },
};

#define READ "visits.read"
#define WRITE "visits.write"

const struct method visits_methods[] = {
    { VISIT_SERVICE, "Request", visit_request, WRITE, request_checks, false },
    { VISIT_SERVICE, "Review", visit_review, WRITE, review_checks, false },
    { VISIT_SERVICE, "Cancel", visit_cancel, WRITE, cancel_checks, false },
    { VISIT_SERVICE, "CheckIn", visit_check_in, WRITE, check_in_checks, false },
    { VISIT_SERVICE, "CheckOut", visit_check_out, WRITE, visit_id_checks, false },
    { VISIT_SERVICE, "SubmitReport", visit_submit_report, WRITE, report_checks, false },
    { VISIT_SERVICE, "ReviewReport", visit_review_report, WRITE, review_report_checks, false },
    { VISIT_SERVICE, "Get", visit_get, READ, get_checks, false },
    { VISIT_SERVICE, "List", visit_list, READ, list_checks, METHOD_BULK_READ },
    { VISIT_SERVICE, "ListCalendar", visit_list_calendar, READ, calendar_checks, METHOD_BULK_READ },
    { COMMITMENT_SERVICE, "Add", commitment_add, WRITE, add_checks, false },
    { COMMITMENT_SERVICE, "Complete", commitment_complete, WRITE, complete_checks, false },
    { COMMITMENT_SERVICE, "Cancel", commitment_cancel, WRITE, cancel_commitment_checks, false },
    { COMMITMENT_SERVICE, "List", commitment_list, READ, list_commitments_checks, false },
    CONSUMER_SERVICE_METHODS("daybook.visits.v1"),
};
const size_t visits_methods_len = ARRAY_LEN(visits_methods);
