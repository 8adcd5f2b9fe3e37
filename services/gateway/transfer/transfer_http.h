/*
 * transfer_http.h - the routes of files (transfer.proto): /imports/... and /exports/....
 *
 * One a loop, and of that thread only. Errors are as those of Connect.
 */
#ifndef DAYBOOK_GATEWAY_TRANSFER_HTTP_H
#define DAYBOOK_GATEWAY_TRANSFER_HTTP_H

#include "services/gateway/identity/identity.h"
#include "services/gateway/transfer/transfer_files.h"
#include "services/gateway/connect/upstream.h"

struct transfers;

/* identity, uses (told of refusals), files: shared with the other loops. NULL: no memory. */
struct transfers *transfers_new(struct upstream *upstream, struct identity *identity,
                                struct key_use *uses, struct transfer_files *files);
void transfers_free(struct transfers *t);
/* Once, before the first. */
void transfers_register_metrics(void);

/* http_handler's; false: the path is none of ours. */
bool transfers_begin(struct transfers *t, struct http_exchange *x);
bool transfers_handle(struct transfers *t, struct http_exchange *x);
bool transfers_gone(struct transfers *t, struct http_exchange *x);
bool transfers_drained(struct transfers *t, struct http_exchange *x);
/* False: no more of it now. */
bool transfers_piece(struct transfers *t, struct http_exchange *x, const void *data, size_t len);

int transfers_fd(const struct transfers *t);
void transfers_run(struct transfers *t);
/* The daemon stops and waits no longer: downloads break off; Range goes on with them. */
void transfers_hurry(struct transfers *t);

#endif
