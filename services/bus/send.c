/*
 * send.c - writing to the ROUTER.
 *
 * ROUTER_MANDATORY makes the first frame tell whether the peer is there and takes messages; the
 * frames after it are then taken too, or dropped with the peer. Always DONTWAIT: a peer that does
 * not read must not stop the others.
 */
#include <assert.h>
#include <errno.h>

#include "services/bus/broker_internal.h"

static int flags_of(bool more)
{
    return ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0);
}

void send_bytes(struct broker *b, const void *data, size_t len, bool more)
{
    int sent = zmq_send(b->router, data, len, flags_of(more));
    assert(sent >= 0 || errno == ENOMEM || errno == EHOSTUNREACH || errno == EAGAIN);
}

void send_move(struct broker *b, zmq_msg_t *frame, bool more)
{
    if (zmq_msg_send(frame, b->router, flags_of(more)) < 0)
        zmq_msg_close(frame);
    zmq_msg_init(frame);
}

void send_copy(struct broker *b, zmq_msg_t *frame, bool more)
{
    zmq_msg_t copy;
    zmq_msg_init(&copy);
    zmq_msg_copy(&copy, frame);
    send_move(b, &copy, more);
}

static enum sent send_id(struct broker *b, zmq_msg_t *id)
{
    zmq_msg_t copy;
    zmq_msg_init(&copy);
    zmq_msg_copy(&copy, id);
    if (zmq_msg_send(&copy, b->router, flags_of(true)) >= 0)
        return SENT;
    enum sent s = errno == EAGAIN ? SENT_FULL : SENT_GONE;
    zmq_msg_close(&copy);
    return s;
}

enum sent send_start(struct broker *b, const struct envelope *e, const struct mdp_head *head,
                     bool more)
{
    enum sent s = send_id(b, e->id);
    if (s != SENT)
        return s;
    for (size_t i = 0; i < e->nstack; i++)
        send_copy(b, &e->stack[i], true);
    if (e->delimiter)
        send_bytes(b, "", 0, true);
    for (size_t i = 0; i < head->n; i++)
        send_bytes(b, head->frames[i].data, head->frames[i].len, more || i + 1 < head->n);
    return SENT;
}

void send_count(enum sent s)
{
    if (s == SENT_GONE)
        stat_add(STAT_UNROUTABLE, 1);
    else if (s == SENT_FULL)
        stat_add(STAT_PEER_FULL, 1);
}
