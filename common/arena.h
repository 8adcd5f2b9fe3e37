/*
 * arena.h - memory that dies together: one arena a request, reset by the worker after the reply.
 *
 * Blocks are zeroed and aligned for any type, never freed one by one. The arena has a budget; past
 * it allocations fail, so that a hostile message cannot take the process down. It is the allocator
 * of protobuf-c for everything a request unpacks. One thread at a time.
 */
#ifndef DAYBOOK_COMMON_ARENA_H
#define DAYBOOK_COMMON_ARENA_H

#include <protobuf-c/protobuf-c.h>

#include "common/base.h"

struct arena;

struct arena *arena_new(size_t budget_bytes); /* NULL when out of memory */
void arena_free(struct arena *a);             /* NULL is allowed */
void arena_freep(struct arena **a);           /* for CLEANUP */

/* Forgets everything; keeps the first chunk for the next request. */
void arena_reset(struct arena *a);

size_t arena_used(const struct arena *a);

/* What was handed out since arena_used() was `mark` counts no longer: it stays, but is done with. */
void arena_discount(struct arena *a, size_t mark);

/* Changes the budget, e.g. to that of one unpack; never below what is used. */
void arena_set_budget(struct arena *a, size_t budget_bytes);

/* NULL past the budget or when out of memory. size 0 gives a unique pointer. */
NODISCARD void *arena_alloc(struct arena *a, size_t size);
/* n * size, overflow checked. */
NODISCARD void *arena_array(struct arena *a, size_t n, size_t size);
NODISCARD char *arena_strdup(struct arena *a, const char *s); /* NULL gives NULL */
NODISCARD char *arena_strndup(struct arena *a, const char *s, size_t n);
NODISCARD void *arena_memdup(struct arena *a, const void *p, size_t n);
NODISCARD char *arena_printf(struct arena *a, const char *fmt, ...) PRINTF(2, 3);
NODISCARD char *arena_vprintf(struct arena *a, const char *fmt, va_list ap) PRINTF(2, 0);

/* An allocator for protobuf-c; valid as long as the arena, its free does nothing. */
ProtobufCAllocator *arena_protobuf(struct arena *a);

#endif
