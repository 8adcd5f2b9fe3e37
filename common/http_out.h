/*
 * http_out.h - outgoing HTTP: POSTs and GETs with bounded answers, many at a time, no redirects, no proxy,
 * addresses checked on the connected socket (libcurl).
 *
 * Loopback, private, link-local, metadata and multicast addresses are refused unless the address
 * lies in one of the allowed networks. One handle a thread.
 */
#ifndef DAYBOOK_COMMON_HTTP_OUT_H
#define DAYBOOK_COMMON_HTTP_OUT_H

#include "common/arena.h"
#include "common/err.h"

struct http_out;

/* allow: networks in CIDR form parted by commas ("127.0.0.0/8,10.0.0.0/8"), NULL = none.
 * allow_plain: http besides https. NULL: allow is malformed or no memory. */
struct http_out *http_out_new(const char *allow, bool allow_plain);
void http_out_free(struct http_out *h);
/* A certificate can be read there. */
bool http_out_authorities_ok(const char *file);
/* Trusts the certificate authorities in this file (PEM) too, besides those of the system; before
 * the first request. The text is borrowed. False: no certificate can be read there. */
NODISCARD bool http_out_trust(struct http_out *h, const char *file);

struct http_answer {
    int status;
    int64_t retry_after_us; /* -1 = not said */
    const char *body;       /* first 4 KiB, or answer_max bytes, NUL-terminated, arena */
    size_t body_len;
    bool cut; /* the body is longer */
};

/* All of it is borrowed until the request is over. */
struct http_request {
    const char *url;
    const char *const *headers; /* "Name: value" texts ended by NULL */
    const void *body;
    size_t len;
    bool get;          /* without a body */
    bool inside;       /* the address must lie in an allowed network, though it be public */
    size_t answer_max; /* bytes of the answer's body; 0 = 4 KiB */
    int64_t timeout_us;
    struct arena *arena; /* for body and reason of the answer */
    void *owner;         /* the caller's own */
};

struct http_done {
    void *owner;
    enum err result; /* ERR_OK: an answer, whatever its status. Else as http_out_start(), and
                        ERR_UNAVAILABLE: no answer; ERR_DEADLINE_EXCEEDED */
    struct http_answer answer;
    const char *reason; /* why not, in words for a ledger; arena or static */
    int64_t took_us;
};

/* Begins it; nothing is waited for. ERR_PERMISSION_DENIED: address not allowed;
 * ERR_INVALID_ARGUMENT: not an address we call. reason_out: set on failure. */
NODISCARD enum err http_out_start(struct http_out *h, const struct http_request *r,
                                  const char **reason_out);
/* Works on what was begun until one of them is over, at most wait_us. False: none is. */
bool http_out_next(struct http_out *h, int64_t wait_us, struct http_done *done_out);
/* Waits for one of them, for http_out_wake() or wait_us; also while none is under way. */
void http_out_rest(struct http_out *h, int64_t wait_us);
/* Ends a wait; from any thread. */
void http_out_wake(struct http_out *h);
/* How many were begun and not handed out as over. */
size_t http_out_running(const struct http_out *h);

/* Judges an address without calling it (at creation). */
NODISCARD enum err http_out_check_url(struct http_out *h, const char *url, const char **reason_out);

#endif
