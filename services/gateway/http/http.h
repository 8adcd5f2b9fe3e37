/*
 * http.h - HTTP/1.1 for the gateway: exchanges that are answered when their answer is there
 * (libmicrohttpd, RFC 9110 and 9112).
 *
 * One http_loop is one thread's: its listener (several share a port by SO_REUSEPORT), its
 * connections, and whatever else the thread waits for. Nothing here is for another thread. An
 * exchange begins when its header has come, is handed out once its body is whole, and is over when
 * its answer has gone or its client has; a stream is an answer whose parts come one by one. Nobody
 * waits for a client: what a client does not take is kept, within a limit.
 */
#ifndef DAYBOOK_GATEWAY_HTTP_H
#define DAYBOOK_GATEWAY_HTTP_H

#include "common/arena.h"
#include "common/base.h"
#include "common/err.h"
#include "common/http_address.h"
#include "services/gateway/http/http_budget.h"

struct http_loop;
struct http_exchange;

struct http_limits {
    size_t body_max;     /* bytes as they come; more is dropped, and the exchange says so */
    size_t url_max;      /* bytes of the target */
    size_t headers_max;  /* number */
    size_t header_bytes; /* all of the header, and libmicrohttpd's memory of a connection */
    int64_t header_us; /* from the begin of a connection to a header; idle_us more for a next one */
    int64_t body_us; /* from a header to the end of its body, or from an answer (no stream) until it
                        * was taken; and a second more for each rate_min bytes that have moved */
    size_t rate_min;
    int64_t idle_us; /* without a byte either way */
    unsigned connections_max;
    unsigned address_max; /* connections of one address (of IPv6: one /64); 0: no limit... */
    const struct http_networks *unlimited; /* ...nor for these; NULL: none; outlives the loop */
    unsigned requests_max; /* of one connection: the last is answered with "Connection: close" */
    struct http_budget *budget; /* of all bodies that are kept; NULL: no limit; outlives the loop */
};
/* protocols B, Profile; where it says nothing, operations 5. No budget. */
extern const struct http_limits http_limits_default;

struct http_handler {
    /* Optional. The header has come, and the body not yet: whatever is answered now goes out once
     * that has come too, and it is dropped. handle() is not called then. */
    void (*begin)(void *arg, struct http_exchange *x);
    /* A whole request. Answers it now, or later. */
    void (*handle)(void *arg, struct http_exchange *x);
    /* A piece of the body, after http_take_pieces(). False: no more of it until http_more_pieces(). */
    bool (*piece)(void *arg, struct http_exchange *x, const void *data, size_t len);
    /* Its client has gone before the answer had: nobody waits for it any more. The exchange is
     * valid until this returns. */
    void (*gone)(void *arg, struct http_exchange *x);
    /* More of a stream can be taken, after http_stream_send() said that it is enough. */
    void (*drained)(void *arg, struct http_exchange *x);
    void *arg;
};

/* address: "host:port", port 0 for any. NULL: logged. */
struct http_loop *http_loop_new(const char *address, const struct http_limits *limits,
                                const struct http_handler *handler);
void http_loop_free(struct http_loop *l); /* ends all connections; gone() is called for each */
/* The port that is listened to. */
uint16_t http_loop_port(const struct http_loop *l);
/* No new connections from now on; those that stand get "Connection: close". */
void http_loop_quiesce(struct http_loop *l);
/* Lets go whoever has not sent all of his request yet, or does not take the end of his stream or, in
 * two seconds, his answer. */
void http_loop_hurry(struct http_loop *l);
unsigned http_loop_exchanges(const struct http_loop *l); /* not yet over */

/* Readable when a client has something to do. */
int http_loop_fd(const struct http_loop *l);
/* Microseconds until there is something to do all the same, such as to send an answer; INT64_MAX:
 * nothing. To be asked just before each wait. */
int64_t http_loop_wait_us(struct http_loop *l);
void http_loop_run(struct http_loop *l);

/* --- the request ------------------------------------------------------------------------------ */

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_OPTIONS, HTTP_OTHER };
enum http_fault {
    HTTP_SOUND,
    HTTP_BODY_TOO_LARGE,
    HTTP_URL_TOO_LONG,
    HTTP_TOO_MANY_HEADERS,
    HTTP_NO_MEMORY,
    HTTP_NO_ROOM, /* all bodies together hold what they may; worth another try soon */
};

enum http_method http_method(const struct http_exchange *x);
enum http_fault http_fault(const struct http_exchange *x);
const char *http_path(const struct http_exchange *x);  /* as sent, without the query */
const char *http_query(const struct http_exchange *x); /* as sent; "" without one */
/* The first of that name, whatever its case; NULL: none. */
const char *http_header(const struct http_exchange *x, const char *name);
/* All, in order, until fn returns false. */
void http_each_header(const struct http_exchange *x,
                      bool (*fn)(void *arg, const char *name, const char *value), void *arg);
/* Valid until the whole answer was given, or a call below that ends it. */
const void *http_body(const struct http_exchange *x, size_t *len_out);
/* In begin(): whether the body that is announced would fit into the budget now. */
bool http_has_room(const struct http_exchange *x);
/* In handle() or later: from here on the body is that one, copied, such as what it was once unzipped;
 * data is no part of the old one. False: as http_fault() says now, and there is no body any more. */
NODISCARD bool http_replace_body(struct http_exchange *x, const void *data, size_t len);
/* Somebody has copied the body and keeps that until the answer: its memory goes, and it counts all the
 * same, until the whole answer is given or the exchange is over. */
void http_body_copied(struct http_exchange *x);
/* In begin(): nobody wants the body; it is let go as it comes. */
void http_drop_body(struct http_exchange *x);
/*
 * In begin(): the body is handed on piece by piece as it comes, and not kept; body_max does not hold.
 * It must come at 1 KiB/s or more. handle() runs at its end, unless an answer was given before: then
 * the rest is dropped. gone() runs when the client leaves in the middle.
 */
void http_take_pieces(struct http_exchange *x);
/* After piece() said that it is enough. */
void http_more_pieces(struct http_exchange *x);
const char *http_peer(const struct http_exchange *x); /* numeric address, "" unknown */

/* What belongs to the exchange and ends with it; 24 MiB. */
struct arena *http_arena(struct http_exchange *x);
void http_set_data(struct http_exchange *x, void *data);
void *http_data(const struct http_exchange *x);

/* --- the answer ------------------------------------------------------------------------------- */

/* The answer lacks something that it cannot do without: the connection ends instead. */
void http_spoil(struct http_exchange *x);
/* Before the answer. Names may come more than once. Values that are empty, or with line ends or tabs, are
 * dropped, logged; without memory the answer is spoilt. */
void http_add_header(struct http_exchange *x, const char *name, const char *value);
/* The whole answer; body is copied. Once an exchange. */
void http_answer(struct http_exchange *x, unsigned status, const void *body, size_t len);
/* The same without a copy: body outlives the loop. */
void http_answer_lasting(struct http_exchange *x, unsigned status, const void *body, size_t len);
/* A stream: its header goes out at once. */
void http_stream_begin(struct http_exchange *x, unsigned status);
/* The same of a known size; an end before that cuts the connection. */
void http_stream_begin_sized(struct http_exchange *x, unsigned status, uint64_t size);
/* Before it begins: its client must take what is sent as fast as any answer (http_limits). */
void http_stream_hasten(struct http_exchange *x);
/* data is copied. False: the client takes less than it gets; drained() will say when it is less.
 * What is sent all the same is kept. */
bool http_stream_send(struct http_exchange *x, const void *data, size_t len);
void http_stream_end(struct http_exchange *x);
size_t http_stream_waiting(const struct http_exchange *x); /* bytes not taken yet */
/* What was begun cannot be ended well: the client sees the connection break. */
void http_cut(struct http_exchange *x);

#endif
