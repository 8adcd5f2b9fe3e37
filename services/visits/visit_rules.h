/*
 * visit_rules.h - what a visit may do next and what follows from the facts. Pure: no I/O, no clock.
 */
#ifndef DAYBOOK_SERVICES_VISITS_VISIT_RULES_H
#define DAYBOOK_SERVICES_VISITS_VISIT_RULES_H

#include "common/base.h"
#include "common/calendar.h"
#include "common/tz.h"

enum visit_action {
    VISIT_ACTION_APPROVE,
    VISIT_ACTION_REJECT,
    VISIT_ACTION_CANCEL,
    VISIT_ACTION_CHECK_IN,
    VISIT_ACTION_CHECK_OUT,
    VISIT_ACTION_REPORT,
    VISIT_ACTION_ACCEPT_REPORT,
    VISIT_ACTION_RETURN_REPORT,
};

/* The state (proto number) after an action; 0 = not allowed in this state. */
int visit_rules_next(int state, enum visit_action action);

/* For messages: "check in", and the states in which an action is allowed: "approved, requested". */
const char *visit_rules_action_name(enum visit_action action);
void visit_rules_allowed_states(enum visit_action action, char *buf, size_t size);
/* "checked_in" for a state's number. */
const char *visit_rules_state_name(int state);

/* Whether a check-in is for a visit of that time: on its local day, or from the opening of its
 * window (CON-23) to its end, for visits near midnight. */
bool visit_rules_is_its_day(const struct tz *tz, int64_t starts_us, int64_t ends_us,
                            int64_t window_us, int64_t now_us);

/* VIS-22: somebody who goes out on a visit in this state (0 = none was applied for) has no
 * approval; what was approved holds for its day (CON-04). By phone or video nobody goes out, so
 * none is needed (CON-07). */
bool visit_rules_is_unregistered(int state, int mode, bool is_its_day);

/* Metres between two points on the sphere (haversine, R = 6371.0 km). */
double visit_rules_distance_m(double lat1, double lon1, double lat2, double lon2);

/* Whether a position counts as away from the customer's: farther than the limit, uncertainty
 * of the device taken off. */
bool visit_rules_is_far(double distance_m, double accuracy_m, double limit_m);

/* Whether somebody may still go: it is asked for or approved, and nobody has checked in. */
bool visit_rules_is_ahead(int state);

/* When to remind of a visit: at its time of day so many calendar days before, on a day off the
 * working day before that (TMR-08, A-12); with 0 days so long before it as one leaves early. */
int64_t visit_rules_remind_us(const struct calendar *c, int64_t starts_us, int days_before,
                              int64_t departure_us);

#endif
