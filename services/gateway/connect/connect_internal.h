/*
 * connect_internal.h - what connect.c (calls), connect_request.c (what is asked) and connect_answer.c
 * (what is said) share. Nobody else includes it.
 */
#ifndef DAYBOOK_GATEWAY_CONNECT_INTERNAL_H
#define DAYBOOK_GATEWAY_CONNECT_INTERNAL_H

#include "common/wire.h"
#include "services/gateway/connect/connect.h"

#define CONNECT_NAMES_MAX 32 /* headers and trailers of an answer, each */

enum connect_codec { CONNECT_PROTO, CONNECT_JSON };

struct connect_pair {
    const char *name, *value;
};

struct connect_call {
    struct connect_call *next, *prev; /* of those with a deadline */
    struct connect *connect;
    struct http_exchange *x;
    const struct schema_method *method;
    enum connect_codec codec;
    bool is_get;
    bool sent_gzip;  /* the request */
    bool takes_gzip; /* the answer may be */
    const void *message;
    size_t len;
    int64_t timeout_us;
    int64_t deadline_us; /* monotonic; 0: none */
    bool timed;          /* in the list */
    bool handed;         /* to on_call */
    bool begun;          /* the answer's header is out */
    bool over;
    void *data;
    struct connect_pair headers[CONNECT_NAMES_MAX], trailers[CONNECT_NAMES_MAX];
    size_t nheaders, ntrailers;
};

struct connect {
    struct connect_config config;
    struct arena *scratch; /* for the reading of one message */
    struct connect_call *timed;
    int64_t next_us; /* not after the first deadline of these */
};

/* --- connect_request.c --- */

/* A refusal that no Connect client reads more of than its status. */
struct connect_refusal {
    unsigned status; /* 0: none */
    const char *header, *value;
};

/*
 * Reads all that can be known from the header: codec, version, deadline, encodings. refusal_out
 * comes first; else the code, with words for the caller.
 */
NODISCARD enum err connect_read_header(struct connect_call *call,
                                       struct connect_refusal *refusal_out, const char **text_out);
/* Reads the message. */
NODISCARD enum err connect_read_message(struct connect_call *call, const char **text_out,
                                        struct wire_fault *fault_out);

/* --- connect_answer.c --- */

void connect_refuse(struct http_exchange *x, const struct connect_config *c,
                    const struct connect_refusal *refusal);
/* A preflight, whatever its path. */
void connect_preflight(struct http_exchange *x, const struct connect_config *c);

/* --- connect.c --- */

void connect_over(struct connect_call *call);

#endif
