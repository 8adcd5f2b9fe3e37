/*
 * fake_bus.h - a bus whose log is a list and whose publishing is the test's: for consumers.
 *
 * A thread answers EventService (GetHead, ReadEvents) over MDP/0.2 and publishes what it is told,
 * as often and in whatever order. The functions belong to one thread of the test; failures abort.
 */
#ifndef DAYBOOK_TESTS_SUPPORT_FAKE_BUS_H
#define DAYBOOK_TESTS_SUPPORT_FAKE_BUS_H

#include <protobuf-c/protobuf-c.h>

#include "common/bus_client.h"
#include "common/id.h"

struct fake_bus;

struct fake_bus *fake_bus_start(void *zmq_context);
void fake_bus_stop(struct fake_bus *b);
const struct bus_address *fake_bus_address(const struct fake_bus *b);

/* Appends to the log and publishes nothing; returns its seq. aggregate: "visits/1". */
int64_t fake_bus_add(struct fake_bus *b, struct id tenant, const char *aggregate, int64_t version,
                     const ProtobufCMessage *event);
int64_t fake_bus_head(const struct fake_bus *b);

void fake_bus_publish(struct fake_bus *b, int64_t seq);
void fake_bus_publish_head(struct fake_bus *b);
/* A message that is no event. */
void fake_bus_publish_junk(struct fake_bus *b, int64_t seq);

/* Another incarnation; of the log only the first `keep` events are left. */
void fake_bus_new_log(struct fake_bus *b, int64_t keep);
/* Events up to seq are no longer there. */
void fake_bus_forget(struct fake_bus *b, int64_t seq);
/* How many events one ReadEvents looks through; 0: all. */
void fake_bus_search(struct fake_bus *b, int64_t window);
/* ReadEvents after seq or later answers `unavailable`; 0: no more so. */
void fake_bus_end_reads(struct fake_bus *b, int64_t seq);
/* Answers nothing but `unavailable`. */
void fake_bus_refuse(struct fake_bus *b, bool on);
/* Subscriptions that come are not admitted, as the bus does with keys it does not know. */
void fake_bus_refuse_subscriptions(struct fake_bus *b, bool on);

int fake_bus_reads(const struct fake_bus *b);         /* ReadEvents so far */
int fake_bus_subscriptions(const struct fake_bus *b); /* prefixes that were asked for */

#endif
