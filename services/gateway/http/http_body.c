/*
 * http_body.c - see http.h: bodies that are kept, and what of the budget they hold.
 *
 * What an exchange holds is given back at one place, http_forget_body(), which its whole answer and its
 * end both come by, so that no way to end is left out. A body's memory grows by doubling: what is held
 * in memory is at most twice what is counted.
 */
#include "common/num.h"
#include "services/gateway/http/http_internal.h"

static bool hold(struct http_exchange *x, size_t len)
{
    if (!http_budget_take(x->loop->limits.budget, len))
        return false;
    x->held += len;
    return true;
}

static bool refuse(struct http_exchange *x, enum http_fault fault)
{
    x->fault = fault;
    http_forget_body(x); /* nobody will read what has come of it */
    return false;
}

bool http_keep(struct http_exchange *x, const void *data, size_t len)
{
    if (x->body.len + len > x->loop->limits.body_max)
        return refuse(x, HTTP_BODY_TOO_LARGE);
    if (!hold(x, len))
        return refuse(x, HTTP_NO_ROOM);
    sbuf_add(&x->body, data, len);
    return x->body.bad ? refuse(x, HTTP_NO_MEMORY) : true;
}

bool http_replace_body(struct http_exchange *x, const void *data, size_t len)
{
    struct sbuf next;

    if (len > x->held && !hold(x, len - x->held))
        return refuse(x, HTTP_NO_ROOM);
    sbuf_init(&next, HTTP_EXCHANGE_BYTES);
    sbuf_add(&next, data, len);
    if (next.bad) {
        sbuf_fini(&next);
        return refuse(x, HTTP_NO_MEMORY);
    }
    sbuf_fini(&x->body);
    x->body = next;
    http_budget_give(x->loop->limits.budget, x->held - len);
    x->held = len;
    return true;
}

void http_body_copied(struct http_exchange *x)
{
    sbuf_fini(&x->body);
}

void http_forget_body(struct http_exchange *x)
{
    sbuf_fini(&x->body);
    http_budget_give(x->loop->limits.budget, x->held);
    x->held = 0;
}

bool http_has_room(const struct http_exchange *x)
{
    const char *text = http_header(x, "Content-Length");
    int64_t len;

    return !text || !num_i64(text, 0, INT64_MAX, &len) ||
           (uint64_t)len > x->loop->limits.body_max ||
           http_budget_fits(x->loop->limits.budget, (uint64_t)len);
}

const void *http_body(const struct http_exchange *x, size_t *len_out)
{
    *len_out = x->body.len;
    return x->body.data;
}

void http_drop_body(struct http_exchange *x)
{
    x->bodiless = true;
}
