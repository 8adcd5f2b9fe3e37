/*
 * hmap.c - chained buckets that double when they hold more nodes than there are buckets.
 */
#include "services/bus/hmap.h"

#include <sodium.h>

#define BUCKETS_FIRST 64

static uint64_t hash_of(const struct hmap *m, const void *key, size_t len)
{
    uint64_t h = 0;
    crypto_shorthash((unsigned char *)&h, key, len, m->secret);
    return h;
}

bool hmap_init(struct hmap *m)
{
    *m = (struct hmap){ .nbuckets = BUCKETS_FIRST };
    m->buckets = calloc(BUCKETS_FIRST, sizeof(*m->buckets));
    if (!m->buckets)
        return false;
    randombytes_buf(m->secret, sizeof(m->secret));
    return true;
}

void hmap_fini(struct hmap *m)
{
    free(m->buckets);
    *m = (struct hmap){ 0 };
}

struct hnode *hmap_find(const struct hmap *m, const void *key, size_t len)
{
    uint64_t h = hash_of(m, key, len);
    for (struct hnode *n = m->buckets[h & (m->nbuckets - 1)]; n; n = n->next)
        if (n->hash == h && n->key_len == len && memcmp(n->key, key, len) == 0)
            return n;
    return NULL;
}

static void grow(struct hmap *m)
{
    size_t nbuckets = m->nbuckets * 2;
    struct hnode **buckets = calloc(nbuckets, sizeof(*buckets));
    if (!buckets)
        return;
    for (size_t i = 0; i < m->nbuckets; i++)
        for (struct hnode *n = m->buckets[i], *next; n; n = next) {
            next = n->next;
            n->next = buckets[n->hash & (nbuckets - 1)];
            buckets[n->hash & (nbuckets - 1)] = n;
        }
    free(m->buckets);
    m->buckets = buckets;
    m->nbuckets = nbuckets;
}

void hmap_insert(struct hmap *m, struct hnode *n, const void *key, size_t len)
{
    if (m->count >= m->nbuckets)
        grow(m);
    n->key = key;
    n->key_len = len;
    n->hash = hash_of(m, key, len);
    n->next = m->buckets[n->hash & (m->nbuckets - 1)];
    m->buckets[n->hash & (m->nbuckets - 1)] = n;
    m->count++;
}

void hmap_remove(struct hmap *m, struct hnode *n)
{
    struct hnode **at = &m->buckets[n->hash & (m->nbuckets - 1)];
    while (*at && *at != n)
        at = &(*at)->next;
    if (!*at)
        return;
    *at = n->next;
    n->next = NULL;
    m->count--;
}

struct hnode *hmap_next(const struct hmap *m, const struct hnode *n)
{
    if (n && n->next)
        return n->next;
    for (size_t i = n ? (n->hash & (m->nbuckets - 1)) + 1 : 0; i < m->nbuckets; i++)
        if (m->buckets[i])
            return m->buckets[i];
    return NULL;
}
