/*
 * gzip.h - gzip (RFC 1952) in memory, with a limit (zlib).
 *
 * Thread-safe; what comes out is in the arena.
 */
#ifndef DAYBOOK_GATEWAY_GZIP_H
#define DAYBOOK_GATEWAY_GZIP_H

#include "common/arena.h"
#include "common/err.h"

/* For zlib, here and where streams are zipped. */
#define GZIP_WINDOW (15 + 16) /* the largest window, and gzip's header */
#define GZIP_LEVEL 1          /* what is asked for is in a hurry */
#define GZIP_MEMORY 8

/* ERR_RESOURCE_EXHAUSTED: more than max bytes, or no memory; ERR_INVALID_ARGUMENT: not gzip, cut
 * short, or with something behind. */
NODISCARD enum err gzip_inflate(struct arena *a, const void *data, size_t len, size_t max,
                                uint8_t **out, size_t *len_out);
NODISCARD enum err gzip_deflate(struct arena *a, const void *data, size_t len, uint8_t **out,
                                size_t *len_out);

#endif
