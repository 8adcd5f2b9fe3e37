/*
 * http_out.h - outgoing HTTP: one POST with a bounded answer, no redirects, no proxy, addresses
 * checked on the connected socket (libcurl).
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

struct http_answer {
    int status;
    int64_t retry_after_us; /* -1 = not said */
    const char *body;       /* first 4 KiB, NUL-terminated, arena */
};

/* headers: "Name: value" texts ended by NULL. ERR_UNAVAILABLE: no answer; ERR_DEADLINE_EXCEEDED;
 * ERR_PERMISSION_DENIED: address not allowed; ERR_INVALID_ARGUMENT: not an address we call.
 * reason_out: words for a ledger, arena, set on failure. */
NODISCARD enum err http_out_post(struct http_out *h, const char *url, const char *const *headers,
                                 const void *body, size_t len, int64_t timeout_us, struct arena *a,
                                 struct http_answer *answer_out, const char **reason_out);

/* Judges an address without calling it (at creation). */
NODISCARD enum err http_out_check_url(struct http_out *h, const char *url, const char **reason_out);

/* Standard Webhooks signature: "v1,<base64 HMAC-SHA256 of id.timestamp.body>".
 * secret: "whsec_" + base64. ERR_INVALID_ARGUMENT: malformed secret. */
NODISCARD enum err http_out_sign(const char *secret, const char *id, int64_t timestamp_s,
                                 const void *body, size_t len, struct arena *a, char **out);

#endif
