/*
 * rpc.h - calls from HTTP to the bus and back: who asks, deadline, key of repetition, trace,
 * request id.
 *
 * One a loop, and of that thread only.
 */
#ifndef DAYBOOK_GATEWAY_RPC_H
#define DAYBOOK_GATEWAY_RPC_H

#include "services/gateway/connect.h"
#include "services/gateway/stream.h"
#include "services/gateway/upstream.h"

struct rpc;

struct rpc *rpc_new(struct upstream *upstream, struct streams *streams); /* NULL: no memory */
void rpc_free(struct rpc *r);
/* connect_config's; arg: the struct rpc. */
void rpc_take(void *arg, struct connect_call *call);
void rpc_gone(void *arg, struct connect_call *call);
void rpc_drained(void *arg, struct connect_call *call);
/* Once, before the first. */
void rpc_register_metrics(void);

#endif
