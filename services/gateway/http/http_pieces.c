/*
 * http_pieces.c - see http.h: bodies that are too large to be kept, handed on as they come.
 *
 * Who cannot take more says so; the connection is suspended then, so that the client's bytes wait in
 * the kernel and soon with the client: that is all the back pressure there is, and it is enough.
 */
#include "common/clock.h"
#include "services/gateway/http/http_internal.h"

void http_take_pieces(struct http_exchange *x)
{
    x->in_pieces = true;
    x->began_us = clock_monotonic_us();
}

/* Whoever is slower than he may be runs into the limit sooner or later. */
static void allow_time(struct http_exchange *x)
{
    int64_t allowed_us = http_allowed_us(x->loop, x->received);

    http_await(x->loop, x->on, clock_left_us(x->began_us + allowed_us));
}

void http_hand_on(struct http_exchange *x, const char *data, size_t len)
{
    const struct http_handler *h = &x->loop->handler;

    x->received += len;
    allow_time(x);
    if (!h->piece(h->arg, x, data, len) && !x->response && !x->left)
        http_suspend(x);
}

void http_more_pieces(struct http_exchange *x)
{
    if (!x->handed && !x->response)
        http_resume(x);
}
