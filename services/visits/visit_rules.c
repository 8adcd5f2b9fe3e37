/*
 * visit_rules.c - the life of a visit as one table, and small facts of geometry and time.
 */
#include "services/visits/visit_rules.h"

#include <math.h>

#include "common/sbuf.h"
#include "daybook/visits/v1/visits.pb-c.h"

#define OFF_DAYS_MAX 60 /* in a row; a week without working days has no end */
#define STATE(name) DAYBOOK__VISITS__V1__VISIT_STATE__VISIT_STATE_##name

static const struct {
    int from;
    enum visit_action action;
    int to;
} transitions[] = {
    { STATE(REQUESTED), VISIT_ACTION_APPROVE, STATE(APPROVED) },
    { STATE(REQUESTED), VISIT_ACTION_REJECT, STATE(REJECTED) },
    { STATE(REQUESTED), VISIT_ACTION_CANCEL, STATE(CANCELLED) },
    { STATE(APPROVED), VISIT_ACTION_CANCEL, STATE(CANCELLED) },
    { STATE(APPROVED), VISIT_ACTION_CHECK_IN, STATE(CHECKED_IN) },
    /* Taken all the same and flagged: what happened is recorded, whatever was allowed (VIS-22). */
    { STATE(REQUESTED), VISIT_ACTION_CHECK_IN, STATE(CHECKED_IN) },
    { STATE(REJECTED), VISIT_ACTION_CHECK_IN, STATE(CHECKED_IN) },
    { STATE(CHECKED_IN), VISIT_ACTION_CHECK_OUT, STATE(ENDED) },
    { STATE(ENDED), VISIT_ACTION_REPORT, STATE(REPORTED) },
    { STATE(RETURNED), VISIT_ACTION_REPORT, STATE(REPORTED) },
    { STATE(REPORTED), VISIT_ACTION_ACCEPT_REPORT, STATE(CLOSED) },
    { STATE(REPORTED), VISIT_ACTION_RETURN_REPORT, STATE(RETURNED) },
};

static const char *const state_names[] = {
    [STATE(UNSPECIFIED)] = "none",    [STATE(REQUESTED)] = "requested",
    [STATE(APPROVED)] = "approved",   [STATE(REJECTED)] = "rejected",
    [STATE(CANCELLED)] = "cancelled", [STATE(CHECKED_IN)] = "checked_in",
    [STATE(ENDED)] = "ended",         [STATE(REPORTED)] = "reported",
    [STATE(RETURNED)] = "returned",   [STATE(CLOSED)] = "closed",
};

static const char *const action_names[] = {
    [VISIT_ACTION_APPROVE] = "approve",
    [VISIT_ACTION_REJECT] = "reject",
    [VISIT_ACTION_CANCEL] = "cancel",
    [VISIT_ACTION_CHECK_IN] = "check in",
    [VISIT_ACTION_CHECK_OUT] = "check out",
    [VISIT_ACTION_REPORT] = "submit the report",
    [VISIT_ACTION_ACCEPT_REPORT] = "accept the report",
    [VISIT_ACTION_RETURN_REPORT] = "return the report",
};

int visit_rules_next(int state, enum visit_action action)
{
    for (size_t i = 0; i < ARRAY_LEN(transitions); i++)
        if (transitions[i].from == state && transitions[i].action == action)
            return transitions[i].to;
    return 0;
}

const char *visit_rules_action_name(enum visit_action action)
{
    return action_names[action];
}

void visit_rules_allowed_states(enum visit_action action, char *buf, size_t size)
{
    struct sbuf out;

    sbuf_init_fixed(&out, buf, size);
    for (size_t i = 0; i < ARRAY_LEN(transitions); i++)
        if (transitions[i].action == action)
            sbuf_addf(&out, "%s%s", out.len ? ", " : "", state_names[transitions[i].from]);
}

const char *visit_rules_state_name(int state)
{
    return state >= 0 && (size_t)state < ARRAY_LEN(state_names) ? state_names[state] : "unknown";
}

bool visit_rules_is_its_day(const struct tz *tz, int64_t starts_us, int64_t ends_us,
                            int64_t window_us, int64_t now_us)
{
    return date_number(tz_date(tz, starts_us)) == date_number(tz_date(tz, now_us)) ||
           (now_us >= starts_us - window_us && now_us <= ends_us);
}

bool visit_rules_is_unregistered(int state, int mode, bool is_its_day)
{
    return mode == DAYBOOK__VISITS__V1__VISIT_MODE__VISIT_MODE_IN_PERSON &&
           !(state == STATE(APPROVED) && is_its_day);
}

double visit_rules_distance_m(double lat1, double lon1, double lat2, double lon2)
{
    const double rad = 3.14159265358979323846 / 180.0;
    double dlat = (lat2 - lat1) * rad, dlon = (lon2 - lon1) * rad;
    double h = sin(dlat / 2) * sin(dlat / 2) +
               cos(lat1 * rad) * cos(lat2 * rad) * sin(dlon / 2) * sin(dlon / 2);

    return 2 * 6371000.0 * asin(sqrt(MIN(h, 1.0)));
}

bool visit_rules_is_far(double distance_m, double accuracy_m, double limit_m)
{
    return distance_m - MAX(accuracy_m, 0.0) > limit_m;
}

bool visit_rules_is_ahead(int state)
{
    return state == STATE(REQUESTED) || state == STATE(APPROVED);
}

int64_t visit_rules_remind_us(const struct calendar *c, int64_t starts_us, int days_before,
                              int64_t departure_us)
{
    if (days_before == 0)
        return starts_us - departure_us;
    struct date first = date_add(tz_date(c->tz, starts_us), -days_before), day = first;
    for (int i = 0; i < OFF_DAYS_MAX && !calendar_is_working(c, day); i++)
        day = date_add(day, -1);
    if (!calendar_is_working(c, day))
        day = first;
    return tz_instant(c->tz, day, tz_minute_of_day(c->tz, starts_us));
}
