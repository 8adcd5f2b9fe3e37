/*
 * bus_frames.h - whole multipart messages of libzmq, bounded in frames.
 *
 * The socket's owner calls; nothing here waits.
 */
#ifndef DAYBOOK_COMMON_BUS_FRAMES_H
#define DAYBOOK_COMMON_BUS_FRAMES_H

#include <zmq.h>

#include "common/base.h"
#include "common/id.h"

#define BUS_FRAMES_MAX 16

struct bus_frames {
    zmq_msg_t frame[BUS_FRAMES_MAX];
    size_t n;
    bool overflow; /* there were more frames, which are gone */
};

/* Takes the next message. False: none is there, and frames_out needs no closing. */
NODISCARD bool bus_frames_receive(void *socket, struct bus_frames *frames_out);
void bus_frames_close(
    struct bus_frames *f); /* idempotent; frames moved out by zmq_msg_move() are empty */

/* What the relay publishes: an event, or how far the log goes. */
struct bus_published {
    bool is_head;
    struct id log_id;
    int64_t seq;
    zmq_msg_t *topic, *event; /* "<tenant>/<type>", the packed event; of the frames */
};
/* False: something else, as a wake. */
NODISCARD bool bus_frames_published(struct bus_frames *f, struct bus_published *out);

bool bus_frame_is(zmq_msg_t *frame, const void *data, size_t len);
bool bus_frame_is_byte(zmq_msg_t *frame, uint8_t byte);

/* Send one frame, `more` to follow. False: not taken (EAGAIN), and then the message must not go on.
 */
NODISCARD bool bus_send(void *socket, const void *data, size_t len, bool more);
NODISCARD bool bus_send_byte(void *socket, uint8_t byte, bool more);
/* Moves the frame out on success. */
NODISCARD bool bus_send_frame(void *socket, zmq_msg_t *frame, bool more);

#endif
