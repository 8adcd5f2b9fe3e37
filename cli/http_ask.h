/*
 * http_ask.h - asking services through the gateway: the Connect protocol over HTTP (libcurl), with
 * the requests and answers of common/bus_client.h, so that a command need not know the way.
 *
 * Messages go in proto. Many may be under way; connections stand from one request to the next. The
 * API key says who asks, so a request's principal counts for nothing here. TLS is checked by the
 * system's certificates; no redirects, and no proxy, also none of the environment. One thread.
 *
 * Whether there was an answer is told as by bus_client.h: without one the result is NULL, and
 * http_ask_reason() has the words.
 */
#ifndef DAYBOOK_CLI_HTTP_ASK_H
#define DAYBOOK_CLI_HTTP_ASK_H

#include "common/bus_client.h"

struct http_ask;

/* NULL: it can be called; else what is wrong with it, in words that follow the address. */
const char *http_ask_fault_of(const char *url);
/* url: of the gateway, "https://daybook.example.com", a path before the services' allowed.
 * NULL: no memory. */
struct http_ask *http_ask_new(const char *url, const char *api_key);
void http_ask_free(struct http_ask *h); /* ends what is under way */

/*
 * Sends one and does not wait; its request_id is needed, to know the answer by.
 * ERR_DEADLINE_EXCEEDED: no time is left; ERR_UNIMPLEMENTED: no such method, or a stream;
 * ERR_RESOURCE_EXHAUSTED: no memory.
 */
NODISCARD enum err http_ask_send(struct http_ask *h, const struct bus_request *r);
/*
 * Whichever is over next. whose_out: its request_id, in the arena; NULL: none was over in that
 * time, and ERR_DEADLINE_EXCEEDED is returned. The result's request_id is another one, by which the
 * gateway's log tells more. Codes as of bus_client_call(), and without an answer also
 * ERR_FAILED_PRECONDITION and ERR_UNIMPLEMENTED: something else than a gateway is there.
 */
NODISCARD enum err http_ask_receive(struct http_ask *h, int64_t timeout_us, struct arena *a,
                                    struct bus_answer *answer_out, const char **whose_out);
/* Both for one request, with nothing else under way. */
NODISCARD enum err http_ask_call(struct http_ask *h, const struct bus_request *r, struct arena *a,
                                 struct bus_answer *answer_out);

struct http_listener {
    bool (*take)(void *arg, const ProtobufCMessage *message); /* false: enough */
    bool (*stopped)(void *arg); /* asked a few times a second; true: enough */
    int64_t quiet_us;           /* longer without a byte: the stream is broken */
    void *arg;
};

/*
 * Follows a server stream until it ends. The arena is reset before each message. ERR_OK: it ended
 * well, or the listener has enough; else as above, and ERR_UNAVAILABLE when it broke.
 */
NODISCARD enum err http_ask_stream(struct http_ask *h, const struct bus_request *r, struct arena *a,
                                   const struct http_listener *listener,
                                   struct bus_answer *end_out);

/* Why there was no answer to the last request that was over; "" when there was one. Until the next
 * one is. */
const char *http_ask_reason(const struct http_ask *h);

#endif
