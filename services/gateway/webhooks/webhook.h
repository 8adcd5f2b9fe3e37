/*
 * webhook.h - webhooks (EXT-16, protocols D): what their parts share.
 *
 *   webhook_service.c  endpoints: register, change, pause, secrets, ping
 *   webhook_log.c      deliveries: the log, send again
 *   webhook_fanout.c   the consumer: an event becomes a delivery for each endpoint that wants it
 *   webhook_body.c     what is posted
 *   webhook_queue.c    what is posted next, with webhook_feed.c and webhook_pick.c; pure
 *   webhook_store.c    the sender's statements
 *   webhook_sender.c   posts, one thread a replica
 *
 * Deliveries are divided into lanes by endpoint and key; a lane is one replica's, by lease. A key is
 * what the event is about: its deliveries to one endpoint are made in order.
 */
#ifndef DAYBOOK_GATEWAY_WEBHOOK_H
#define DAYBOOK_GATEWAY_WEBHOOK_H

#include "common/call.h"
#include "common/consumer.h"
#include "common/lease.h"
#include "daybook/gateway/v1/events.pb-c.h"
#include "daybook/gateway/v1/gateway.pb-c.h"

typedef Daybook__Gateway__V1__Endpoint PbEndpoint;

#define WEBHOOK_LANES 16
extern const struct lease_plan webhook_lease_plan;

/* Where deliveries of one thing to one endpoint go. */
int webhook_lane(struct id endpoint, uint64_t key);
/* The key of what an event is about. */
uint64_t webhook_key(const char *aggregate);

/* Tells every replica that deliveries of an endpoint wait, or that it was changed, or that
 * older ones wait again; data: items. */
#define WAKE_WEBHOOKS "gateway.webhooks"
struct webhook_hint {
    struct id tenant, endpoint;
    uint32_t lanes; /* bits */
    uint32_t changed;
    int64_t from_seq; /* the lowest that is new; 0: not said */
};
/* Deliveries are kept, and tried, for so long after their event. */
#define WEBHOOK_KEEP_US (30 * DAY_US)
#define WEBHOOK_ALL_LANES ((1U << WEBHOOK_LANES) - 1)

/* A secret, sealed for its endpoint. NULL: no memory or no master key. */
NODISCARD char *webhook_seal_secret(struct arena *a, struct id tenant, struct id endpoint,
                                    const char *secret);
NODISCARD enum err webhook_open_secret(struct arena *a, struct id tenant, struct id endpoint,
                                       const char *sealed, char **clear_out);

/* For a change of the master key. */
extern const struct reseal_table endpoint_sealed;

/* What handlers and threads of the daemon share about outgoing calls; read-only. */
struct webhook_config {
    const char *allow; /* http_out.h */
    bool allow_plain;
    const char *authorities; /* file of certificates besides the system's; NULL: none */
    const char *public_url;  /* "https://daybook.example.com", of CloudEvents' source */
};

/* Of the daemon's data. */
const struct webhook_config *webhook_config_of(const void *daemon_data);
void webhook_tell(void *daemon_data, const struct webhook_hint *hints, size_t n);

extern const struct method webhook_methods[];
extern const size_t webhook_methods_len;

call_handler webhook_create, webhook_get, webhook_list, webhook_update, webhook_delete,
    webhook_pause, webhook_resume, webhook_rotate_secret, webhook_ping, webhook_list_deliveries,
    webhook_get_delivery, webhook_redeliver;

/* Every caller of WebhookService needs this (its comment in gateway.proto). */
NODISCARD enum err webhook_need_right(struct call *call);
/* ERR_NOT_FOUND with words: no such endpoint. `lock`: for a change. */
NODISCARD enum err webhook_need_endpoint(struct call *call, const char *id, const char *field,
                                         bool lock, PbEndpoint **endpoint_out);
/* Wakes the senders after the commit. */
void webhook_wake(struct call *call, struct id endpoint, uint32_t lanes, bool changed);

/* The consumer: reactions to all events of the schema, which must have been read. Once, before
 * threads start. NULL: no memory. */
const struct consumer_def *webhook_consumer(void);

#endif
