/*
 * answer.h - what the bus itself says to a client: a CallResult with a canonical code and one
 * ErrorInfo, in the form (binary or JSON) of the asker.
 */
#ifndef DAYBOOK_BUS_ANSWER_H
#define DAYBOOK_BUS_ANSWER_H

#include <zmq.h>

#include "common/arena.h"
#include "common/err.h"

/* Each fault has its row in the table of answer.c: code, reason, words, retry time. */
enum fault {
    FAULT_NO_WORKER,
    FAULT_QUEUE_FULL,
    FAULT_CLIENT_LIMIT,
    FAULT_WORKER_LOST,
    FAULT_DEADLINE,
    FAULT_DRAINING,
    FAULT_BAD_REQUEST,
    FAULT_BAD_CONTEXT,
    FAULT_BAD_SERVICE,
    FAULT_TOO_LARGE,
    FAULT_PARTIALS_TOO_LARGE,
    FAULT_NOT_ADMITTED,
    FAULT_PRINCIPAL,
    FAULT_PERMISSION,
    FAULT_UNKNOWN_METHOD,
    FAULT_MEMORY,
    FAULTS,
};

const char *fault_reason(enum fault f); /* "NO_WORKER" */

struct answer {
    enum fault fault;
    const char *request_id; /* "" when not known */
    const char *service;    /* into the metadata; NULL: left out */
    const char *detail;     /* more words, appended after ": " and in the metadata; NULL: none */
    bool json;
};

/* The result frame; false: out of memory. scratch is reset. */
NODISCARD bool answer_pack(const struct answer *a, struct arena *scratch, zmq_msg_t *out);

/* A successful result frame, for what the broker answers itself. */
NODISCARD bool answer_pack_ok(const char *request_id, bool json, struct arena *scratch,
                              zmq_msg_t *out);
/* A message as a frame in the asker's form. */
NODISCARD bool answer_pack_message(const ProtobufCMessage *m, bool json, zmq_msg_t *out);

#endif
