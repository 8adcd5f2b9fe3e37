/*
 * aside.c - see aside.h. A short list, looked through from end to end: it is empty but for trouble.
 */
#include "services/reminders/aside.h"

static struct aside_entry *find(const struct aside *a, const struct timer *t)
{
    for (size_t i = 0; i < a->n; i++) {
        const struct timer *x = &a->entries[i].timer;
        if (x->due_us == t->due_us && x->step == t->step &&
            id_equal(x->obligation, t->obligation) && id_equal(x->tenant, t->tenant))
            return (struct aside_entry *)(uintptr_t)&a->entries[i];
    }
    return NULL;
}

static struct aside_entry *find_or_add(struct aside *a, const struct timer *t, uint64_t fired)
{
    struct aside_entry *e = find(a, t);

    if (e || a->n == ASIDE_MAX)
        return e;
    e = &a->entries[a->n++];
    *e = (struct aside_entry){ .timer = *t, .fired = fired };
    return e;
}

bool aside_has(const struct aside *a, const struct timer *t)
{
    const struct aside_entry *e = a->n ? find(a, t) : NULL;
    return e && e->until_us;
}

bool aside_put_locked(struct aside *a, const struct timer *t, int64_t now_us)
{
    struct aside_entry *e = find_or_add(a, t, UINT64_MAX);

    if (e)
        e->until_us = now_us + ASIDE_LOCKED_US;
    return e != NULL;
}

int aside_put_failed(struct aside *a, const struct timer *t, uint64_t before, uint64_t fired,
                     bool counts, int64_t now_us)
{
    struct aside_entry *e = find_or_add(a, t, before);

    if (!e)
        return -1;
    if (counts && (e->tries > 0 || fired > e->fired))
        e->tries++;
    e->fired = fired;
    e->until_us = now_us + (SECOND_US << MAX(e->tries - 1, 0));
    return e->tries;
}

size_t aside_take(struct aside *a, int64_t now_us, struct timer *out, size_t max)
{
    size_t n = 0;

    for (size_t i = 0; i < a->n && n < max; i++) {
        struct aside_entry *e = &a->entries[i];
        if (!e->until_us || e->until_us > now_us)
            continue;
        e->until_us = 0;
        out[n++] = e->timer;
    }
    return n;
}

int64_t aside_next_us(const struct aside *a)
{
    int64_t next_us = INT64_MAX;

    for (size_t i = 0; i < a->n; i++)
        if (a->entries[i].until_us)
            next_us = MIN(next_us, a->entries[i].until_us);
    return next_us;
}

void aside_forget(struct aside *a, const struct timer *t)
{
    struct aside_entry *e = a->n ? find(a, t) : NULL;

    if (e)
        *e = a->entries[--a->n];
}
