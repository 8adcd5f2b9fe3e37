/*
 * outbox.h - events out: queues rows into bus.outbox inside the caller's transaction. call.c and
 * consumer.c use it; daemons' own loops (timers) too.
 */
#ifndef DAYBOOK_COMMON_OUTBOX_H
#define DAYBOOK_COMMON_OUTBOX_H

#include <protobuf-c/protobuf-c.h>

#include "common/arena.h"
#include "common/db.h"
#include "common/id.h"

/* Where a change comes from, for the audit trail; all NULL for the daemon's own doing. */
struct outbox_origin {
    const char *method;         /* "daybook.customers.v1.CustomerService/Update" */
    const char *remote_address; /* of the client */
    const char *fields;         /* that an update was asked to change: array literal */
};

struct outbox_event {
    struct id tenant;
    const char *collection; /* "visits" */
    const char *aggregate_id;
    int64_t version;         /* of the aggregate, after the change */
    int64_t occurred_at_us;  /* domain time */
    struct id actor;         /* nil = the daemon itself */
    const char *request_id;  /* "" = none */
    const char *traceparent; /* "" = none */
    struct outbox_origin origin;
    const ProtobufCMessage *message;
};

/* An event that is packed already; texts are borrowed until it is queued, NULL = none. */
struct outbox_row {
    struct id event_id;
    struct id tenant;
    const char *type;      /* full message name */
    const char *aggregate; /* "visits/<id>" */
    int64_t version;
    int64_t occurred_at_us;
    struct id actor;
    const char *request_id;
    const char *traceparent;
    struct outbox_origin origin;
    const uint8_t *payload;
    size_t payload_len;
};

/* Packs the event at once, so that its message may change afterwards. */
NODISCARD enum err outbox_pack(const struct outbox_event *event, struct arena *a,
                               struct outbox_row *row_out);
/* Queues n packed events, keeping their order: by one statement as long as tenant, moment, actor
 * and request stay the same; of one tenant when the transaction has one. */
NODISCARD enum err outbox_queue_rows(struct db *db, const struct outbox_row *rows, size_t n,
                                     struct arena *a);

#endif
