/*
 * pages.h - what the gateway says about itself: /openapi.json, /asyncapi.json, /docs.
 *
 * Made once from the embedded schema, then immutable and shared by all threads. For everybody,
 * without a key: they say no more than the contract does.
 */
#ifndef DAYBOOK_GATEWAY_PAGES_H
#define DAYBOOK_GATEWAY_PAGES_H

#include "services/gateway/http/http.h"

struct pages;

struct pages *pages_new(void);    /* NULL: no memory, logged */
void pages_free(struct pages *p); /* after the loops that served them */
/* Answers the exchange if it asks for one of the pages; else false, and it is untouched. */
bool pages_serve(const struct pages *p, struct http_exchange *x);

#endif
