/*
 * endpoints.c - see endpoints.h. A short list: it holds only channels in trouble.
 */
#include "services/reminders/endpoints.h"

static const struct endpoint *find(const struct endpoints *x, struct id tenant, struct id owner)
{
    for (size_t i = 0; i < x->n; i++)
        if (id_equal(x->list[i].owner, owner) && id_equal(x->list[i].tenant, tenant))
            return &x->list[i];
    return NULL;
}

static size_t place_for(struct endpoints *x, struct id tenant, struct id owner)
{
    const struct endpoint *known = find(x, tenant, owner);
    size_t first = 0;

    if (known)
        return (size_t)(known - x->list);
    if (x->n < ENDPOINTS_MAX)
        return x->n++;
    for (size_t i = 1; i < x->n; i++)
        if (x->list[i].until_us < x->list[first].until_us)
            first = i;
    return first;
}

static void forget(struct endpoints *x, struct id tenant, struct id owner)
{
    const struct endpoint *known = find(x, tenant, owner);

    if (known)
        x->list[known - x->list] = x->list[--x->n];
}

void endpoints_note(struct endpoints *x, struct id tenant, struct id owner, bool answered,
                    int64_t took_us, int64_t now_us)
{
    if (answered && took_us < ENDPOINT_SLOW_US) {
        forget(x, tenant, owner);
        return;
    }
    int64_t rest_us = answered ? MIN(2 * took_us, ENDPOINT_REST_US) : ENDPOINT_REST_US;
    x->list[place_for(x, tenant, owner)] = (struct endpoint){
        .tenant = tenant, .owner = owner, .until_us = now_us + rest_us, .failing = !answered
    };
}

bool endpoints_rests(const struct endpoints *x, struct id tenant, struct id owner, int64_t now_us)
{
    const struct endpoint *e = x->n ? find(x, tenant, owner) : NULL;
    return e && e->until_us > now_us;
}

bool endpoints_fails(const struct endpoints *x, struct id tenant, struct id owner)
{
    const struct endpoint *e = x->n ? find(x, tenant, owner) : NULL;
    return e && e->failing;
}
