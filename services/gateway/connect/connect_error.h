/*
 * connect_error.h - an error on its way out: what the gateway itself refuses, as the google.rpc.Status
 * that a service would answer with, and any such Status as the protocol writes it.
 *
 * Of one request, like its arena.
 */
#ifndef DAYBOOK_GATEWAY_CONNECT_ERROR_H
#define DAYBOOK_GATEWAY_CONNECT_ERROR_H

#include "common/arena.h"
#include "common/err.h"
#include "common/sbuf.h"
#include "common/wire.h"
#include "google/rpc/status.pb-c.h"

typedef Google__Rpc__Status PbStatus;

/* An error that no service has said. Its details: ErrorInfo, BadRequest of fault, RetryInfo. */
struct connect_failure {
    enum err code;
    const char *text;               /* which field, and what to do */
    const char *reason;             /* of ErrorInfo, UPPER_SNAKE; NULL: the code's name */
    const struct wire_fault *fault; /* what cannot be read; NULL: nothing */
    int64_t wait_us; /* until it may be tried again; 0: one second of ERR_UNAVAILABLE, else none */
};

/* In the arena; where memory is short, fewer details are told. domain: of ErrorInfo; NULL: no details. */
void connect_failure_status(struct arena *a, const char *domain, const struct connect_failure *f,
                            PbStatus *out);

/* The HTTP status of an error, by the protocol. */
unsigned connect_http_status(enum err code);
/* {"code", "message", "details"}, each detail in base64 and, for people, in JSON. */
void connect_error_json(struct arena *a, const PbStatus *status, struct sbuf *out);
/* Whole seconds of its RetryInfo; negative: it has none. */
int64_t connect_error_retry_s(struct arena *a, const PbStatus *status);

#endif
