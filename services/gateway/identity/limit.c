/*
 * limit.c - see limit.h.
 */
#include "services/gateway/identity/limit.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>

#define SLOTS 8192 /* a power of two */
#define PROBES 16

struct slot {
    struct id key;
    int64_t next_us; /* when the next request would come at the steady rate; 0: free */
};

struct limit {
    int64_t interval_us, ahead_us; /* between two requests; how far next_us may run ahead */
    pthread_mutex_t lock;
    struct slot slots[SLOTS];
};

struct limit *limit_new(int64_t n, int64_t in_us, int64_t burst)
{
    struct limit *l = calloc(1, sizeof(*l));

    if (!l)
        return NULL;
    pthread_mutex_init(&l->lock, NULL);
    l->interval_us = n > 0 ? MAX(in_us / n, 1) : 0;
    l->ahead_us = (MAX(burst, 1) - 1) * l->interval_us;
    return l;
}

void limit_free(struct limit *l)
{
    if (!l)
        return;
    pthread_mutex_destroy(&l->lock);
    free(l);
}

/* The key's slot; NULL: it has none, and *least_out is the one to forget. */
static struct slot *find(struct limit *l, struct id key, struct slot **least_out)
{
    size_t first = id_hash(key) & (SLOTS - 1);

    *least_out = &l->slots[first];
    for (size_t i = 0; i < PROBES; i++) {
        struct slot *s = &l->slots[(first + i) & (SLOTS - 1)];
        if (s->next_us && id_equal(s->key, key))
            return s;
        if (s->next_us < (*least_out)->next_us)
            *least_out = s;
    }
    return NULL;
}

/* Microseconds until one may pass; negative or 0: it may. */
static int64_t wait_of(const struct limit *l, const struct slot *s, int64_t now_us)
{
    return s ? s->next_us - l->ahead_us - now_us : 0;
}

int64_t limit_take(struct limit *l, struct id key, int64_t monotonic_us)
{
    struct slot *least;

    if (!l->interval_us)
        return 0;
    pthread_mutex_lock(&l->lock);
    struct slot *s = find(l, key, &least);
    int64_t wait_us = wait_of(l, s, monotonic_us);
    if (!s) {
        s = least;
        *s = (struct slot){ .key = key };
    }
    if (wait_us <= 0)
        s->next_us = MAX(s->next_us, monotonic_us) + l->interval_us;
    pthread_mutex_unlock(&l->lock);
    return MAX(wait_us, 0);
}

static int64_t seconds_of(int64_t us)
{
    return MAX((us + SECOND_US - 1) / SECOND_US, 1);
}

void limit_tell(const struct limit *l, int64_t wait_us, char policy[static LIMIT_TEXT_MAX],
                char state[static LIMIT_TEXT_MAX])
{
    int64_t burst = l->interval_us ? l->ahead_us / l->interval_us + 1 : 0;

    snprintf(policy, LIMIT_TEXT_MAX, "\"requests\";q=%" PRId64 ";w=%" PRId64, burst,
             seconds_of(burst * l->interval_us));
    snprintf(state, LIMIT_TEXT_MAX, "\"requests\";r=0;t=%" PRId64, seconds_of(wait_us));
}
