/*
 * workdays_rules.c - see workdays_rules.h.
 */
#include "services/directory/workdays_rules.h"

bool workdays_rules_belongs(struct date d, int year)
{
    return d.year == year || (d.year == year - 1 && d.month == 12);
}

static int compare(const void *x, const void *y)
{
    const struct calendar_day *a = x, *b = y;
    int32_t p = date_number(a->date), q = date_number(b->date);
    return p < q ? -1 : p > q;
}

bool workdays_rules_sort(struct calendar_day *days, size_t n, struct date *again_out)
{
    if (n > 1)
        qsort(days, n, sizeof(*days), compare);
    for (size_t i = 1; i < n; i++)
        if (compare(&days[i - 1], &days[i]) == 0) {
            *again_out = days[i].date;
            return false;
        }
    return true;
}

static bool same(const struct calendar_day *a, const struct calendar_day *b)
{
    return a->is_off_day == b->is_off_day && strcmp(a->name, b->name) == 0;
}

void workdays_rules_diff(const struct calendar_day *before, size_t nbefore,
                         const struct calendar_day *after, size_t nafter,
                         struct workdays_change *out)
{
    size_t i = 0, k = 0;

    out->n = out->stored_changed = 0;
    while (i < nbefore || k < nafter) {
        int order = i == nbefore ? 1 : k == nafter ? -1 : compare(&before[i], &after[k]);
        bool changed = order != 0 || !same(&before[i], &after[k]);
        if (changed)
            out->dates[out->n++] = order < 0 ? before[i].date : after[k].date;
        out->stored_changed += changed && order >= 0;
        i += order <= 0;
        k += order >= 0;
    }
}
