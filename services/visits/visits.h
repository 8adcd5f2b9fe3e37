/*
 * visits.h - private interface of the visits daemon: short names for the generated types, and what
 * its files share.
 */
#ifndef DAYBOOK_SERVICES_VISITS_VISITS_H
#define DAYBOOK_SERVICES_VISITS_VISITS_H

#include "common/call.h"
#include "common/consumer.h"
#include "daybook/visits/v1/events.pb-c.h"
#include "daybook/visits/v1/visits.pb-c.h"

typedef Daybook__Visits__V1__Visit PbVisit;
typedef Daybook__Visits__V1__VisitReport PbVisitReport;
typedef Daybook__Visits__V1__CheckInFacts PbCheckInFacts;
typedef Daybook__Visits__V1__Commitment PbCommitment;
typedef Daybook__Visits__V1__CalendarEntry PbCalendarEntry;

/* What a visit's row holds beside the message. */
struct visit_aside {
    struct id customer_owner; /* nil when not known */
    struct id unit;           /* whose rules count the time of the report; nil = the company's */
};

#define VISIT_SERVICE "daybook.visits.v1.VisitService"
#define COMMITMENT_SERVICE "daybook.visits.v1.CommitmentService"

extern const struct method visits_methods[];
extern const size_t visits_methods_len;
extern const struct consumer_def visits_consumer;

/* handlers: visit.c, visit_report.c, visit_calendar.c, commitment.c */
call_handler visit_request, visit_review, visit_cancel, visit_check_in, visit_check_out;
call_handler visit_submit_report, visit_review_report, visit_get, visit_list;
call_handler visit_list_calendar;
call_handler commitment_add, commitment_complete, commitment_cancel, commitment_list;

/*
 * Inserts a commitment and emits CommitmentMade; fills ids, defaults and the due time of an undated
 * one (TMR-43). The owner must be an active employee whom the actor sees. prefix: path of the
 * message in the request, for violations ("commitments[2].").
 */
NODISCARD enum err commitment_make(struct call *call, PbCommitment *commitment, const char *prefix);

/* Writes an id as the database does, so that events name everything in one way. */
NODISCARD enum err visits_normalise(struct call *call, char **id);

/* Unit of an employee as text; "" when not known. */
const char *visits_unit_of(struct call *call, const char *employee_id);

#endif
