/*
 * stream.h - EventService/StreamEvents: the log from a position on, to its end and further.
 *
 * A stream is read from the log by ReadEvents, on behalf of its caller, until it has come to what
 * recent.h holds, and from there on served from memory. A client that does not take what it gets
 * falls back to reading by itself: nothing is kept for it. One a loop, and of that thread only.
 */
#ifndef DAYBOOK_GATEWAY_STREAM_H
#define DAYBOOK_GATEWAY_STREAM_H

#include "services/gateway/connect/connect.h"
#include "services/gateway/identity/identity.h"
#include "services/gateway/connect/recent.h"
#include "services/gateway/connect/upstream.h"

struct streams;

struct streams *streams_new(struct recent *recent, struct upstream *upstream,
                            struct identity *identity);
void streams_free(struct streams *s); /* after all have gone */

/* Whether that call is for here. */
bool streams_serve(const struct schema_method *method);
/* Takes a call of a caller who was proven, as whom the exchange remembers him. ERR_OK: it is a stream
 * now; else it was answered so. */
enum err streams_take(struct streams *s, struct connect_call *call, const PbPrincipal *principal);
/* The client has gone. */
void streams_gone(struct streams *s, struct connect_call *call);
/* It takes more again. */
void streams_drained(struct streams *s, struct connect_call *call);
/* Sends what is new; heard: recent_run() said so. */
void streams_run(struct streams *s, bool heard);
int64_t streams_wait_us(const struct streams *s); /* INT64_MAX: nothing to do by the clock */
/* Ends all, so that their clients ask elsewhere. */
void streams_end(struct streams *s);
size_t streams_open(const struct streams *s);

#endif
