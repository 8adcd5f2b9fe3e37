/*
 * pages_internal.h - the documents of pages.c: each appended to b from the schema; what does not fit
 * sets b->bad. Nobody else includes it.
 */
#ifndef DAYBOOK_GATEWAY_PAGES_INTERNAL_H
#define DAYBOOK_GATEWAY_PAGES_INTERNAL_H

#include "common/arena.h"
#include "common/err.h"
#include "common/sbuf.h"
#include "common/schema.h"

/* scratch: what is needed on the way; the caller's, for all of them. */
void openapi_write(struct sbuf *b, struct arena *scratch);
void asyncapi_write(struct sbuf *b, struct arena *scratch);
void reference_write(struct sbuf *b, struct arena *scratch);
void event_schema_write(struct sbuf *b, struct arena *scratch, const struct schema_message *m);
/* Content-Security-Policy of the reference: its own style and script, by their hashes. */
void reference_policy(struct sbuf *b);

/* "invalid_argument 400, not_found 404, ..." */
void pages_add_statuses(struct sbuf *b);

#endif
