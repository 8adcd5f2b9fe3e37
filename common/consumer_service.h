/*
 * consumer_service.h - the methods of a daemon's ConsumerService: how far its consumer has come, and
 * the events that it has put aside.
 *
 * One set of handlers for all daemons: each names them in its table of methods with the service of its
 * own package, and they work on the tables of the daemon's schema, of which the consumer bears the
 * name. Of the events in them nobody sees or changes those of another company.
 */
#ifndef DAYBOOK_COMMON_CONSUMER_SERVICE_H
#define DAYBOOK_COMMON_CONSUMER_SERVICE_H

#include "common/call.h"

call_handler consumer_service_get, consumer_service_list_parked, consumer_service_replay_parked;

extern const struct check consumer_service_list_checks[], consumer_service_replay_checks[];

/* Rows of a method table. package: "daybook.visits.v1". */
/* clang-format off */
#define CONSUMER_SERVICE_METHODS(package)                                                            \
    { package ".ConsumerService", "Get", consumer_service_get, "consumers.read", NULL, false },      \
    { package ".ConsumerService", "ListParked", consumer_service_list_parked, "consumers.read",      \
      consumer_service_list_checks, false },                                                         \
    { package ".ConsumerService", "ReplayParked", consumer_service_replay_parked, "consumers.write", \
      consumer_service_replay_checks, false }
/* clang-format on */

#endif
