/* router.c - see router.h. */
#include "tests/support/router.h"

#include <assert.h>

void router_open(struct router *r, void *zmq_context, const char *endpoint)
{
    int linger = 0, mandatory = 1;
    size_t size = sizeof r->endpoint;
    r->socket = zmq_socket(zmq_context, ZMQ_ROUTER);
    assert(r->socket);
    int rc = zmq_setsockopt(r->socket, ZMQ_LINGER, &linger, sizeof linger);
    assert(rc == 0);
    rc = zmq_setsockopt(r->socket, ZMQ_ROUTER_MANDATORY, &mandatory, sizeof mandatory);
    assert(rc == 0);
    rc = zmq_bind(r->socket, endpoint);
    assert(rc == 0);
    rc = zmq_getsockopt(r->socket, ZMQ_LAST_ENDPOINT, r->endpoint, &size);
    assert(rc == 0);
}

void router_close(struct router *r)
{
    if (r->socket)
        zmq_close(r->socket);
    r->socket = NULL;
}

bool router_receive(struct router *r, int timeout_ms, struct bus_frames *out)
{
    zmq_pollitem_t item = { .socket = r->socket, .events = ZMQ_POLLIN };
    if (zmq_poll(&item, 1, timeout_ms) <= 0)
        return false;
    return bus_frames_receive(r->socket, out);
}

void router_send(struct router *r, zmq_msg_t *route, const struct router_frame *frames, size_t n)
{
    bool sent = bus_send(r->socket, zmq_msg_data(route), zmq_msg_size(route), true);
    for (size_t i = 0; sent && i < n; i++)
        sent = bus_send(r->socket, frames[i].data, frames[i].len, i + 1 < n);
    assert(sent);
}
