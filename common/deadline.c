/*
 * deadline.c - see deadline.h.
 */
#include "common/deadline.h"

int64_t deadline_add(const struct calendar *c, bool is_business, int64_t start_us, int64_t span_us)
{
    if (!is_business || !calendar_has_hours(c))
        return start_us + span_us;
    for (int64_t from_us = start_us, left_us = span_us;;) {
        int64_t now_us = calendar_next_workday_start(c, from_us);
        struct date today = tz_date(c->tz, from_us);
        if (calendar_is_working(c, today)) {
            int64_t begin_us = tz_instant(c->tz, today, c->workday_start_minute);
            int64_t end_us = tz_instant(c->tz, today, c->workday_end_minute);
            if (from_us < end_us)
                now_us = MAX(from_us, begin_us);
        }
        int64_t end_us = tz_instant(c->tz, tz_date(c->tz, now_us), c->workday_end_minute);
        if (now_us + left_us <= end_us)
            return now_us + left_us;
        left_us -= end_us - now_us;
        from_us = end_us;
    }
}

static int64_t by_rules_of(const struct directory *d, struct id tenant, struct id unit,
                           const char *key, int64_t start_us, int64_t rules_us)
{
    struct policy_value span = directory_policy(d, tenant, unit, key, rules_us);
    struct policy_value clock = directory_policy(d, tenant, unit, "hour_clock", rules_us);
    bool is_business = span.def->type == POLICY_TYPE_HOURS && strcmp(clock.text, "business") == 0;

    return deadline_add(directory_calendar_at(d, tenant, unit, rules_us), is_business, start_us,
                        policy_us(span));
}

/* The first moment after that one from which the rule may count otherwise. */
static int64_t next_change(const struct directory *d, struct id tenant, const char *key,
                           int64_t after_us)
{
    int64_t span_us = directory_policy_change(d, tenant, key, after_us);
    int64_t clock_us = directory_policy_change(d, tenant, "hour_clock", after_us);
    int64_t calendar_us = directory_calendar_change(d, tenant, after_us);

    return MIN(MIN(span_us, clock_us), calendar_us);
}

int64_t deadline_of(const struct directory *d, struct id tenant, struct id unit, const char *key,
                    int64_t start_us, int64_t judged_us)
{
    int64_t due_us = by_rules_of(d, tenant, unit, key, start_us, start_us);
    int64_t at_us = next_change(d, tenant, key, start_us);

    while (at_us <= due_us && at_us <= judged_us) {
        due_us = by_rules_of(d, tenant, unit, key, start_us, at_us);
        at_us = next_change(d, tenant, key, at_us);
    }
    return due_us;
}
