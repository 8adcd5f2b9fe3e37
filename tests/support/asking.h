/*
 * asking.h - asks a daemon's methods through call_answer(), as the bus would, without a bus.
 */
#ifndef DAYBOOK_TESTS_SUPPORT_ASKING_H
#define DAYBOOK_TESTS_SUPPORT_ASKING_H

#include "common/call.h"

/* Zero means: a system caller without a company, binary, default deadline, a new request id. */
struct question {
    const char *service;
    const char *method;
    const ProtobufCMessage *message; /* NULL = empty */
    const char *raw;                 /* instead of message: the frame as it is */
    size_t raw_len;
    bool json;
    int kind; /* of actor; 0 = system */
    struct id tenant, actor;
    const char *const *scopes; /* ended by NULL; NULL = none */
    const char *key;
    const char *request_id;
    uint32_t deadline_ms;
    bool no_principal;
};

/* Lives in the env's arena. */
struct reply {
    enum err code;
    const char *reason; /* of ErrorInfo; "" on success */
    const char *text;   /* the status message; "" on success */
    const PbCallResult *result;
    ProtobufCMessage *message; /* NULL on error */
    const uint8_t *frame;      /* the second one as it came */
    size_t frame_len;
};

/* Aborts when the answer breaks the contract: not readable, another request id, an error without
 * exactly one ErrorInfo. Does not reset the arena. */
struct reply ask(struct call_env *env, const struct question *q);

/* A fact about the answer, NULL when absent. */
const char *reply_metadata(const struct reply *r, const char *key);
/* The detail of that type, unpacked in the arena; NULL when there is none. */
const void *reply_detail(const struct reply *r, const ProtobufCMessageDescriptor *type,
                         struct arena *a);
/* "field=REASON field=REASON" of BadRequest, in the arena; "" without. */
const char *reply_violations(const struct reply *r, struct arena *a);

#endif
