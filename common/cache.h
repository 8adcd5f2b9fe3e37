/*
 * cache.h - one Redis connection with a budget: a cache that is slow counts as away.
 *
 * Every call has 50 ms, looking the host's name up included (resolve.h); a failure opens the circuit,
 * which tries again after a second. While it is open calls return ERR_UNAVAILABLE at once. One thread
 * at a time.
 */
#ifndef DAYBOOK_COMMON_CACHE_H
#define DAYBOOK_COMMON_CACHE_H

#include "common/arena.h"
#include "common/err.h"

struct cache;

/* address: "host:port" or "unix:<path>"; password NULL = none, else as db_new()'s conninfo. Does not connect. */
struct cache *cache_new(const char *address, const char *password);
void cache_free(struct cache *c);

/* ERR_NOT_FOUND: no such key. */
NODISCARD enum err cache_get(struct cache *c, const char *key, struct arena *a, uint8_t **data_out,
                             size_t *len_out);

/*
 * Stores value unless a value of the same or a higher version is there (compare and set on the
 * server, in one script). ERR_ABORTED: a newer one is there. What cache_get() gives is `data` only;
 * the version travels in the value's first 8 bytes.
 */
NODISCARD enum err cache_set_versioned(struct cache *c, const char *key, int64_t version,
                                       const void *data, size_t len, int64_t ttl_ms);
/* As cache_get() for such a value. A value that is too short counts as not found and is deleted. */
NODISCARD enum err cache_get_versioned(struct cache *c, const char *key, struct arena *a,
                                       int64_t *version_out, uint8_t **data_out, size_t *len_out);
NODISCARD enum err cache_delete(struct cache *c, const char *key);

#endif
