/*
 * id.h - identifiers: UUIDv7 (RFC 9562), made in the daemon, text on the wire, uuid in SQL.
 */
#ifndef DAYBOOK_COMMON_ID_H
#define DAYBOOK_COMMON_ID_H

#include "common/base.h"

struct id {
    uint8_t b[16];
};

#define ID_TEXT_MAX 37 /* 36 characters and a NUL */

/*
 * A new UUIDv7 by the wall clock (never the domain clock, which a test may turn back). Within a
 * process ids rise strictly, whatever the clock does. Thread-safe.
 */
struct id id_new(void);

/*
 * A name-based UUID (version 8 layout over BLAKE2b): the same parts always give the same id, so a
 * reaction that runs again makes the same row. parts end with NULL.
 */
struct id id_derived(const char *part, ...) __attribute__((sentinel));

/* Accepts the 36-character form in either case; nothing else. */
NODISCARD bool id_parse(const char *text, struct id *out);
/* Writes lower-case text into buf and returns buf. */
char *id_text(struct id id, char buf[static ID_TEXT_MAX]);
bool id_is_nil(struct id id);
bool id_equal(struct id a, struct id b);
int id_compare(struct id a, struct id b); /* as memcmp, the order of PostgreSQL's uuid */
uint64_t id_hash(struct id id);
/* The smallest UUIDv7 of a moment (microseconds since 1970, not negative), and the moment of one, to
 * the millisecond. */
struct id id_at(int64_t us);
int64_t id_time_us(struct id id);

#endif
