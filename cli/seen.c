/*
 * seen.c - see seen.h. Open addressing, never more than half full.
 */
#include "cli/seen.h"

#include <sodium.h>

#define CAP_FIRST 1024

struct key {
    uint64_t a, b; /* both 0: free */
};

struct seen {
    struct key *slots;
    size_t cap, n;
};

struct seen *seen_new(void)
{
    struct seen *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->cap = CAP_FIRST;
    s->slots = calloc(s->cap, sizeof *s->slots);
    if (s->slots)
        return s;
    free(s);
    return NULL;
}

void seen_free(struct seen *s)
{
    if (!s)
        return;
    free(s->slots);
    free(s);
}

static struct key *slot_of(struct key *slots, size_t cap, struct key k)
{
    size_t i = k.a & (cap - 1);
    while ((slots[i].a || slots[i].b) && (slots[i].a != k.a || slots[i].b != k.b))
        i = (i + 1) & (cap - 1);
    return &slots[i];
}

static bool grow(struct seen *s)
{
    size_t cap = s->cap * 2;
    struct key *slots = calloc(cap, sizeof *slots);
    if (!slots)
        return false;
    for (size_t i = 0; i < s->cap; i++)
        if (s->slots[i].a || s->slots[i].b)
            *slot_of(slots, cap, s->slots[i]) = s->slots[i];
    free(s->slots);
    s->slots = slots;
    s->cap = cap;
    return true;
}

bool seen_add(struct seen *s, const char *text, bool *full_out)
{
    struct key k;
    *full_out = s->n * 2 >= s->cap && !grow(s);
    if (*full_out)
        return false;
    crypto_generichash((unsigned char *)&k, sizeof k, (const unsigned char *)text, strlen(text),
                       NULL, 0);
    k.b |= 1; /* never the mark of a free slot */
    struct key *slot = slot_of(s->slots, s->cap, k);
    if (slot->b)
        return false;
    *slot = k;
    s->n++;
    return true;
}
