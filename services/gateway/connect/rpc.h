/*
 * rpc.h - calls from HTTP to the bus and back: who asks and how often, deadline, key of repetition,
 * trace, request id.
 *
 * One a loop, and of that thread only.
 */
#ifndef DAYBOOK_GATEWAY_RPC_H
#define DAYBOOK_GATEWAY_RPC_H

#include "services/gateway/connect/connect.h"
#include "services/gateway/identity/identity.h"
#include "services/gateway/connect/stream.h"
#include "services/gateway/connect/upstream.h"

struct rpc;

/* identity: shared with the other loops. NULL: no memory. */
struct rpc *rpc_new(struct upstream *upstream, struct streams *streams, struct identity *identity);
void rpc_free(struct rpc *r);
/* connect_config's; arg: the struct rpc. */
bool rpc_admit(void *arg, struct connect_call *call); /* strangers cost no parsing */
void rpc_unreadable(void *arg, struct connect_call *call, enum err code);
void rpc_take(void *arg, struct connect_call *call);
void rpc_gone(void *arg, struct connect_call *call);
void rpc_drained(void *arg, struct connect_call *call);
/* The header Idempotency-Key, in quotes or not; "" = none. NULL: no memory, or not a key. */
const char *rpc_idempotency_key(struct http_exchange *x);
/* Once, before the first. */
void rpc_register_metrics(void);

#endif
