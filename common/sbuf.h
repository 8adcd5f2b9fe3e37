/*
 * sbuf.h - text and bytes that grow up to a bound.
 *
 * Appending past the bound or without memory sets `bad` and leaves the content as it was; check it
 * once at the end. The content is always NUL-terminated. One thread at a time.
 */
#ifndef DAYBOOK_COMMON_SBUF_H
#define DAYBOOK_COMMON_SBUF_H

#include "common/base.h"

struct sbuf {
    char *data; /* never NULL after init; data[len] == 0 */
    size_t len;
    size_t cap;   /* private */
    size_t limit; /* most bytes of content */
    bool bad;     /* something did not fit */
    bool fixed;   /* private: data is the caller's */
};

void sbuf_init(struct sbuf *b, size_t limit);                 /* grows on the heap */
void sbuf_init_fixed(struct sbuf *b, char *mem, size_t size); /* content < size, never allocates */
void sbuf_fini(struct sbuf *b);                               /* idempotent */
void sbuf_clear(struct sbuf *b);                              /* keeps the memory, resets bad */
char *sbuf_take(struct sbuf *b);                              /* caller frees; NULL when bad */

void sbuf_add(struct sbuf *b, const void *p, size_t n);
void sbuf_add_text(struct sbuf *b, const char *s);
void sbuf_add_char(struct sbuf *b, char c);
void sbuf_addf(struct sbuf *b, const char *fmt, ...) PRINTF(2, 3);
void sbuf_vaddf(struct sbuf *b, const char *fmt, va_list ap) PRINTF(2, 0);
void sbuf_add_i64(struct sbuf *b, int64_t v);
/* s as a JSON string with its quotes: control characters, quotes and backslashes escaped. */
void sbuf_add_json(struct sbuf *b, const char *s);
/* The same, and the bytes C0 80 are a NUL in s (wire_nul.h), \u0000 in JSON. */
void sbuf_add_json_nul(struct sbuf *b, const char *s);
/* One element of a PostgreSQL array literal, always quoted and escaped; NULL gives NULL. */
void sbuf_add_pg_element(struct sbuf *b, const char *s);

#endif
