/*
 * calendar.c - working days and due times (requirements 4.1, ORG-12).
 *
 * Every walk ends: the pattern has at least one working weekday (asserted, and the rule book
 * accepts no other), and the exceptions are finite.
 */
#include "common/calendar.h"

#include <assert.h>

static const struct calendar_day *find_exception(const struct calendar *c, struct date d)
{
    int32_t wanted = date_number(d);
    size_t low = 0, high = c->ndays;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int32_t n = date_number(c->days[middle].date);
        if (n == wanted)
            return &c->days[middle];
        if (n < wanted)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static bool year_is_loaded(const struct calendar *c, int16_t year)
{
    for (size_t i = 0; i < c->nyears; i++)
        if (c->years[i] == year)
            return true;
    return false;
}

static bool weekday_is_worked(const struct calendar *c, struct date d)
{
    return (c->week_mask >> (date_weekday(d) - 1)) & 1;
}

void explain_add(struct explain *x, const char *fmt, ...)
{
    if (!x)
        return;
    if (x->n == ARRAY_LEN(x->lines)) {
        /* The line that gives way to the sum is dropped too. */
        x->dropped += x->dropped ? 1 : 2;
        char *sum = arena_printf(x->arena, "and %zu more lines", x->dropped);
        if (sum)
            x->lines[x->n - 1] = sum;
        return;
    }
    va_list ap;
    va_start(ap, fmt);
    char *line = arena_vprintf(x->arena, fmt, ap);
    va_end(ap);
    if (line) /* an explanation is not worth failing for */
        x->lines[x->n++] = line;
}

bool calendar_has_hours(const struct calendar *c)
{
    return c->workday_start_minute < c->workday_end_minute;
}

bool calendar_is_working(const struct calendar *c, struct date d)
{
    const struct calendar_day *day = find_exception(c, d);
    return day ? !day->is_off_day : weekday_is_worked(c, d);
}

const char *calendar_reason(const struct calendar *c, struct date d, struct arena *a)
{
    const struct calendar_day *day = find_exception(c, d);
    if (day && day->is_off_day)
        return day->name && *day->name ? day->name : "holiday";
    if (day) {
        const char *text = arena_printf(a, "make-up day: %s", day->name ? day->name : "");
        return text ? text : "make-up day";
    }
    bool worked = weekday_is_worked(c, d);
    if (year_is_loaded(c, d.year))
        return worked ? "weekday" : "weekend";
    return worked ? "weekday (calendar of that year not loaded)"
                  : "weekend (calendar of that year not loaded)";
}

/* Walks day by day in steps of +1 or -1 until n working days were met; n >= 1. */
static struct date walk(const struct calendar *c, struct date d, int n, int step, struct explain *x)
{
    assert(c->week_mask & 0x7f);
    for (int met = 0; met < n;) {
        d = date_add(d, step);
        bool working = calendar_is_working(c, d);
        met += working;
        if (!x)
            continue;
        char text[DATE_TEXT_MAX];
        const char *reason = calendar_reason(c, d, x->arena);
        if (working)
            explain_add(x, "%s %s: working day %d of %d", date_format(d, text), reason, met, n);
        else
            explain_add(x, "%s %s: not counted", date_format(d, text), reason);
    }
    return d;
}

static int64_t end_of(const struct calendar *c, struct date d, struct explain *x)
{
    char text[DATE_TEXT_MAX];
    explain_add(x, "end of the working day %s %02d:%02d", date_format(d, text),
                c->workday_end_minute / 60, c->workday_end_minute % 60);
    return tz_instant(c->tz, d, c->workday_end_minute);
}

int64_t calendar_add_workdays(const struct calendar *c, int64_t from_us, int n, struct explain *x)
{
    if (n <= 0)
        return calendar_end_of_day(c, from_us, x);
    struct date d = tz_date(c->tz, from_us);
    char text[DATE_TEXT_MAX];
    explain_add(x, "%s: first day, not counted", date_format(d, text));
    return end_of(c, walk(c, d, n, 1, x), x);
}

int64_t calendar_subtract_workdays(const struct calendar *c, int64_t at_us, int n,
                                   struct explain *x)
{
    struct date d = tz_date(c->tz, at_us);
    char text[DATE_TEXT_MAX];
    explain_add(x, "%s: day of the event, not counted", date_format(d, text));
    if (n > 0)
        d = walk(c, d, n, -1, x);
    else if (!calendar_is_working(c, d))
        d = walk(c, d, 1, -1, x);
    return end_of(c, d, x);
}

int64_t calendar_end_of_day(const struct calendar *c, int64_t from_us, struct explain *x)
{
    struct date d = tz_date(c->tz, from_us);
    char text[DATE_TEXT_MAX];

    if (!calendar_is_working(c, d)) {
        if (x)
            explain_add(x, "%s %s: not a working day", date_format(d, text),
                        calendar_reason(c, d, x->arena));
        return end_of(c, walk(c, d, 1, 1, x), x);
    }
    if (from_us > tz_instant(c->tz, d, c->workday_end_minute)) {
        explain_add(x, "%s: after the end of the working day", date_format(d, text));
        return end_of(c, walk(c, d, 1, 1, x), x);
    }
    return end_of(c, d, x);
}

int64_t calendar_at(const struct calendar *c, int64_t us, int minute)
{
    return tz_instant(c->tz, tz_date(c->tz, us), minute);
}

int64_t calendar_next_workday_start(const struct calendar *c, int64_t us)
{
    struct date d = tz_date(c->tz, us);
    int64_t start_us = tz_instant(c->tz, d, c->workday_start_minute);

    if (calendar_is_working(c, d) && us <= start_us)
        return start_us;
    return tz_instant(c->tz, walk(c, d, 1, 1, NULL), c->workday_start_minute);
}
