/* bus_frames.c - see bus_frames.h. */
#include "common/bus_frames.h"

#include "common/mdp.h"

#define PUBLISHED_FRAMES 4 /* topic, log id, seq, event */

static bool receive_frame(void *socket, zmq_msg_t *frame)
{
    zmq_msg_init(frame);
    if (zmq_msg_recv(frame, socket, ZMQ_DONTWAIT) >= 0)
        return true;
    zmq_msg_close(frame);
    return false;
}

bool bus_frames_receive(void *socket, struct bus_frames *frames_out)
{
    struct bus_frames *f = frames_out;
    f->n = 0;
    f->overflow = false;

    bool more = true;
    while (more) {
        zmq_msg_t rest;
        zmq_msg_t *frame = f->n < BUS_FRAMES_MAX ? &f->frame[f->n] : &rest;
        /* Only the first can be missing: libzmq hands out whole messages. */
        if (!receive_frame(socket, frame)) {
            bus_frames_close(f);
            return false;
        }
        more = zmq_msg_more(frame);
        if (frame == &rest) {
            f->overflow = true;
            zmq_msg_close(&rest);
        } else {
            f->n++;
        }
    }
    return true;
}

void bus_frames_close(struct bus_frames *f)
{
    for (size_t i = 0; i < f->n; i++)
        zmq_msg_close(&f->frame[i]);
    f->n = 0;
}

static int64_t read_seq(const uint8_t *p)
{
    uint64_t n = 0;
    for (int i = 0; i < 8; i++)
        n = n << 8 | p[i];
    return (int64_t)n;
}

bool bus_frames_published(struct bus_frames *f, struct bus_published *out)
{
    if (f->n != PUBLISHED_FRAMES || f->overflow ||
        zmq_msg_size(&f->frame[1]) != sizeof out->log_id.b || zmq_msg_size(&f->frame[2]) != 8)
        return false;
    memcpy(out->log_id.b, zmq_msg_data(&f->frame[1]), sizeof out->log_id.b);
    out->seq = read_seq(zmq_msg_data(&f->frame[2]));
    out->is_head = bus_frame_is(&f->frame[0], BUS_TOPIC_HEAD, strlen(BUS_TOPIC_HEAD));
    out->topic = &f->frame[0];
    out->event = &f->frame[3];
    return true;
}

bool bus_frame_is(zmq_msg_t *frame, const void *data, size_t len)
{
    return zmq_msg_size(frame) == len && (len == 0 || memcmp(zmq_msg_data(frame), data, len) == 0);
}

bool bus_frame_is_byte(zmq_msg_t *frame, uint8_t byte)
{
    return bus_frame_is(frame, &byte, 1);
}

bool bus_send(void *socket, const void *data, size_t len, bool more)
{
    return zmq_send(socket, data, len, ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0)) >= 0;
}

bool bus_send_byte(void *socket, uint8_t byte, bool more)
{
    return bus_send(socket, &byte, 1, more);
}

bool bus_send_frame(void *socket, zmq_msg_t *frame, bool more)
{
    return zmq_msg_send(frame, socket, ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0)) >= 0;
}
