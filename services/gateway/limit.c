/*
 * limit.c - see limit.h.
 */
#include "services/gateway/limit.h"

#include <pthread.h>

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

struct limit *limit_new(int64_t per_second, int64_t burst)
{
    struct limit *l = calloc(1, sizeof(*l));

    if (!l)
        return NULL;
    pthread_mutex_init(&l->lock, NULL);
    l->interval_us = per_second > 0 ? MAX(SECOND_US / per_second, 1) : 0;
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

/* The key's slot, or one for it. */
static struct slot *slot_of(struct limit *l, struct id key, int64_t now_us)
{
    size_t first = id_hash(key) & (SLOTS - 1);
    struct slot *least = &l->slots[first];

    for (size_t i = 0; i < PROBES; i++) {
        struct slot *s = &l->slots[(first + i) & (SLOTS - 1)];
        if (s->next_us && id_equal(s->key, key))
            return s;
        if (s->next_us < least->next_us)
            least = s;
    }
    *least = (struct slot){ .key = key, .next_us = now_us };
    return least;
}

int64_t limit_take(struct limit *l, struct id key, int64_t monotonic_us)
{
    if (!l->interval_us)
        return 0;
    pthread_mutex_lock(&l->lock);
    struct slot *s = slot_of(l, key, monotonic_us);
    int64_t next_us = MAX(s->next_us, monotonic_us);
    int64_t wait_us = next_us - l->ahead_us - monotonic_us;
    if (wait_us <= 0)
        s->next_us = next_us + l->interval_us;
    pthread_mutex_unlock(&l->lock);
    return MAX(wait_us, 0);
}
