/*
 * connect.h - the Connect protocol, server side: unary calls by POST and GET, server streams, in
 * proto and JSON, with gzip, deadlines and CORS (connectrpc.com/docs/protocol; design: protocols B).
 *
 * What a call says and what it is answered stand here in proto, whatever the client speaks. Like
 * http.h this belongs to one thread.
 */
#ifndef DAYBOOK_GATEWAY_CONNECT_H
#define DAYBOOK_GATEWAY_CONNECT_H

#include "common/schema.h"
#include "common/wire.h"
#include "services/gateway/connect/connect_error.h"
#include "services/gateway/http/http.h"

struct connect_call;

#define CONNECT_TIME_IS_UP                                                                         \
    "time is up; it may have been done: send it again with the same Idempotency-Key"

struct connect_config {
    size_t message_max;       /* bytes of one message, uncompressed */
    const char *cors_origin;  /* NULL: none; else an origin, or several parted by commas */
    const char *error_domain; /* of the ErrorInfo in errors made here; NULL: they have no details */
    /* Optional: a call of which there is the header, the message not yet. False: it has answered
     * it. */
    bool (*admit)(void *arg, struct connect_call *call);
    /* Optional: a call that was answered by an error, without admit() or after it, since what it
     * sends cannot be read. */
    void (*on_unreadable)(void *arg, struct connect_call *call, enum err code);
    /* A call whose message has come. Answers it now, or later. */
    void (*on_call)(void *arg, struct connect_call *call);
    /* Its client has gone, or its time is up. Valid until this returns; nothing may be answered any
     * more. */
    void (*on_gone)(void *arg, struct connect_call *call);
    void (*on_drained)(void *arg, struct connect_call *call); /* as http_handler.drained */
    void *arg;
};

struct connect;

struct connect *connect_new(const struct connect_config *config); /* NULL: no memory */
void connect_free(struct connect *c);

/* The method of "/package.Service/Method"; NULL: none of the schema. */
const struct schema_method *connect_find(const char *path);
/* Optional, for http_handler.begin: refuses by the header what need not send its message. */
void connect_open(struct connect *c, struct http_exchange *x);
/* Takes an exchange, whose handler hands gone and drained on to connect_gone() and
 * connect_drained(), which know whether it is one of theirs. */
void connect_handle(struct connect *c, struct http_exchange *x);
void connect_gone(struct connect *c, struct http_exchange *x);
void connect_drained(struct connect *c, struct http_exchange *x);
/* Answers the calls whose time is up. */
void connect_tick(struct connect *c, int64_t monotonic_us);
int64_t connect_wait_us(const struct connect *c, int64_t monotonic_us); /* INT64_MAX: for ever */

/* --- the call --------------------------------------------------------------------------------- */

const struct schema_method *connect_method(const struct connect_call *call);
struct http_exchange *connect_exchange(const struct connect_call *call);
bool connect_is_json(const struct connect_call *call); /* what the client speaks; else proto */
bool connect_is_get(const struct connect_call *call);
/* Valid until the call is over, or connect_message_copied(). */
const void *connect_message(const struct connect_call *call, size_t *len_out);
/* As http_body_copied(); there is no message any more. */
void connect_message_copied(struct connect_call *call);
int64_t connect_timeout_us(const struct connect_call *call); /* as the client asks; 0: none */
/* After that (monotonic), deadline_exceeded is answered. */
void connect_set_deadline(struct connect_call *call, int64_t deadline_us);
void connect_set_data(struct connect_call *call, void *data);
void *connect_data(const struct connect_call *call);

/* Before the answer begins, a header; before it ends, a trailer. */
void connect_add_header(struct connect_call *call, const char *name, const char *value);
void connect_add_trailer(struct connect_call *call, const char *name, const char *value);

/* The answer of a unary call, packed. */
void connect_reply(struct connect_call *call, const void *message, size_t len);
/* The end of any call by an error; its RetryInfo goes out as Retry-After too. */
void connect_fail(struct connect_call *call, const PbStatus *status);
void connect_fail_as(struct connect_call *call, const struct connect_failure *f);
void connect_fail_text(struct connect_call *call, enum err code, const char *text);
/* why: ERR_RESOURCE_EXHAUSTED, or what else is wrong with a message of our own. */
void connect_fail_to_write(struct connect_call *call, enum err why);

/* The answer was given, or nobody waits for it: the call is not to be touched any more. */
bool connect_is_over(const struct connect_call *call);

/* The header of a stream goes out with its first message, or by this before there is one. */
void connect_begin(struct connect_call *call);
/* One message of a stream. False: as http_stream_send(); or it could not be written, which ends the
 * call by an error: see connect_is_over(). */
bool connect_send(struct connect_call *call, const void *message, size_t len);
/* The same with a message in the client's codec already, made once for many. */
bool connect_send_encoded(struct connect_call *call, const void *data, size_t len);
/* The end of a stream that went well. */
void connect_end(struct connect_call *call);

#endif
