/*
 * hmap.h - an intrusive hash map over byte keys, for one thread.
 *
 * Keys come from peers, so they are hashed by SipHash under a key made at start: nobody can choose
 * names that collide. Nodes are embedded in the caller's structs, which own the keys; removing
 * costs a walk of one bucket.
 */
#ifndef DAYBOOK_BUS_HMAP_H
#define DAYBOOK_BUS_HMAP_H

#include "common/base.h"

struct hnode {
    struct hnode *next;
    uint64_t hash;
    const void *key; /* the owner's; lives as long as the node is in the map */
    size_t key_len;
};

struct hmap {
    struct hnode **buckets;
    size_t nbuckets; /* a power of two */
    size_t count;
    uint8_t secret[16];
};

NODISCARD bool hmap_init(struct hmap *m); /* false: out of memory */
void hmap_fini(struct hmap *m);           /* nodes are the caller's */

struct hnode *hmap_find(const struct hmap *m, const void *key, size_t len);
/* The key must not be in the map. Never fails: without memory the map just does not grow. */
void hmap_insert(struct hmap *m, struct hnode *n, const void *key, size_t len);
void hmap_remove(struct hmap *m, struct hnode *n);
/* All nodes in no order: NULL starts, NULL ends. The one just given may be removed only if the next
 * was asked for before. */
struct hnode *hmap_next(const struct hmap *m, const struct hnode *n);

#define HMAP_OWNER(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

#endif
