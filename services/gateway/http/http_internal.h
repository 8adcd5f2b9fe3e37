/*
 * http_internal.h - what http.c (exchanges) and http_loop.c (listener, connections, the loop) share.
 * Nobody else includes it.
 */
#ifndef DAYBOOK_GATEWAY_HTTP_INTERNAL_H
#define DAYBOOK_GATEWAY_HTTP_INTERNAL_H

#include <microhttpd.h>

#include "common/net.h"
#include "common/sbuf.h"
#include "services/gateway/http/http.h"

#define HTTP_STREAM_BLOCK (16 * KIB) /* libmicrohttpd's piece of a stream */
#define HTTP_ANSWER_HEADERS_MAX 64
#define HTTP_EXCHANGE_BYTES (24 * MIB) /* of its arena, and of a body that was replaced */

struct http_connection {
    struct http_connection *next, *prev; /* of those whose request is awaited */
    struct http_connection *all_next, *all_prev;
    uint64_t address; /* http_address_key() */
    int fd;
    int64_t came_us, before_us;
    unsigned requests; /* so far */
    bool awaited;
    bool ended;                     /* its client had, at the last look */
    struct http_exchange *exchange; /* not over yet; NULL: none */
    char peer[NET_ADDRESS_MAX];
};

struct http_exchange {
    struct http_exchange *next, *prev; /* of the loop's */
    struct http_loop *loop;
    struct MHD_Connection *connection;
    struct http_connection *on;
    struct arena *arena;
    void *data;
    enum http_method method;
    enum http_fault fault;
    const char *path, *query;
    const char *target; /* in libmicrohttpd's memory, for the check of the head */
    size_t target_len;
    const char *head_fault; /* NULL: none */
    struct sbuf body;
    size_t held; /* of the budget */
    size_t discarded;
    bool begun;       /* the header was seen */
    bool in_pieces;   /* the body is */
    bool chunked;     /* the body comes so */
    int64_t read_to;  /* then: http_bytes_read() when the last chunk was seen */
    int64_t began_us; /* monotonic; of the body */
    uint64_t received;
    bool bodiless;  /* whatever comes is dropped */
    bool handed;    /* to the handler */
    bool suspended; /* at libmicrohttpd */
    bool queued;    /* the answer, there */
    bool watched;   /* for the end of its client */
    bool over;      /* the answer is whole */
    bool left;      /* its client has */
    /* the answer */
    struct MHD_Response *response;
    unsigned status;
    bool streams;
    bool hastened; /* it may not be taken slowly */
    bool told_enough;
    size_t answer_len;   /* of no stream */
    int64_t answered_us; /* monotonic; of no stream */
    struct sbuf out;     /* of a stream: [out_sent, len) was not taken */
    size_t out_sent;
    size_t nheaders;
    bool headless; /* there was no memory for one */
    const char *headers[HTTP_ANSWER_HEADERS_MAX][2];
};

struct http_loop {
    struct http_limits limits;
    struct http_handler handler;
    struct MHD_Daemon *mhd;
    int epoll_fd; /* libmicrohttpd's, and the clients that might leave */
    int watch_fd;
    int listen_fd;
    uint16_t port;
    bool quiesced;
    bool closing; /* nothing begins any more */
    bool resumed; /* some exchange, since libmicrohttpd ran: its descriptor does not tell */
    unsigned exchanges;
    int64_t sweep_us;
    int64_t
        unheard_us; /* since when somebody waits to be accepted; 0: nobody did at the last look */
    unsigned connections;
    struct http_connection *awaited, *all;
    struct http_exchange *open;
};

/* --- http_loop.c --- */

/* The connection's next request, or its body, must be there within so long. */
void http_await(struct http_loop *l, struct http_connection *c, int64_t within_us);
void http_came(struct http_loop *l, struct http_connection *c); /* it is; idempotent */
/* How long so many bytes may take, either way. */
int64_t http_allowed_us(const struct http_loop *l, uint64_t bytes);

/* So many bytes of the connection libmicrohttpd has read by now, or rather more. */
int64_t http_bytes_read(const struct http_connection *c);

/* --- http_head.c --- */

/* What is wrong with the head, so that somebody might take the request for another; NULL: nothing. */
const char *http_head_fault(const struct http_exchange *x, const char *method, const char *version);
const char *http_target_fault(const char *target);

/* --- http_body.c --- */

/* A piece of a body that is kept. False: as the fault says now, and nothing of it is kept. */
bool http_keep(struct http_exchange *x, const void *data, size_t len);
/* The body goes, and what it holds is given back; idempotent. */
void http_forget_body(struct http_exchange *x);

/* --- http_pieces.c --- */

/* A piece of a body that is handed on. */
void http_hand_on(struct http_exchange *x, const char *data, size_t len);

/* --- http.c: what libmicrohttpd calls, and the end of a client --- */

void *http_on_target(void *cls, const char *target, struct MHD_Connection *connection);
enum MHD_Result http_on_request(void *cls, struct MHD_Connection *connection, const char *url,
                                const char *method, const char *version, const char *upload,
                                size_t *upload_len, void **context);
void http_on_completed(void *cls, struct MHD_Connection *connection, void **context,
                       enum MHD_RequestTerminationCode why);
/* The connection has ended and nobody told of its exchange's end: libmicrohttpd 0.9.75 has refused the head twice. */
void http_abandon(struct http_exchange *x);
/* A client that has only ended its side is done with too. */
void http_leave(struct http_exchange *x);
void http_suspend(struct http_exchange *x);
void http_resume(struct http_exchange *x); /* one that is not suspended goes on anyway */

#endif
