/*
 * calendar_feed.h - GET /calendars/<id>_<secret>.ics: the visits of an employee, for programs that
 * subscribe to calendars (protocols E; EXT-03, VIS-30).
 *
 * One a loop, and of that thread only. A feed is made anew for each request, from pages that are asked
 * of the visits daemon one after the other, as the employee whose feed it is; nobody waits for them.
 * The address is the secret, so no log line or metric has it.
 */
#ifndef DAYBOOK_GATEWAY_CALENDAR_FEED_H
#define DAYBOOK_GATEWAY_CALENDAR_FEED_H

#include "services/gateway/http/http.h"
#include "services/gateway/identity/identity.h"
#include "services/gateway/public_url.h"
#include "services/gateway/connect/upstream.h"

struct calendar_feeds;

/* identity: shared with the other loops. url: copied. NULL: no memory. */
struct calendar_feeds *calendar_feeds_new(struct upstream *upstream, struct identity *identity,
                                          const struct public_url *url);
void calendar_feeds_free(struct calendar_feeds *c); /* after the exchanges */
/* Once, before the first. */
void calendar_feeds_register_metrics(void);

/* Takes the exchange if its path is that of a feed; else false, and it is untouched. */
bool calendar_feeds_serve(struct calendar_feeds *c, struct http_exchange *x);
/* The client of an exchange has gone. False: it is not one of ours. */
bool calendar_feeds_gone(struct calendar_feeds *c, struct http_exchange *x);

#endif
