/*
 * router.h - the bus as tests need it: a bare ROUTER whose every frame the test writes itself.
 *
 * Belongs to the thread that made it. What goes wrong here is not the subject of a test, so it
 * aborts.
 */
#ifndef DAYBOOK_TESTS_SUPPORT_ROUTER_H
#define DAYBOOK_TESTS_SUPPORT_ROUTER_H

#include "common/bus_frames.h"

struct router {
    void *socket;
    char endpoint[128];
};

struct router_frame {
    const void *data;
    size_t len;
};
#define ROUTER_TEXT(text)                                                                          \
    {                                                                                              \
        (text), strlen(text)                                                                       \
    }
#define ROUTER_BYTE(byte)                                                                          \
    {                                                                                              \
        (const uint8_t[]){ byte }, 1                                                               \
    }
#define ROUTER_NONE                                                                                \
    {                                                                                              \
        NULL, 0                                                                                    \
    }

/* endpoint: "tcp://127.0.0.1:*". */
void router_open(struct router *r, void *zmq_context, const char *endpoint);
void router_close(struct router *r);

/* The next message within timeout_ms; frame[0] is the sender's route. False: none. */
bool router_receive(struct router *r, int timeout_ms, struct bus_frames *out);

/* route: frame[0] of what was received. */
void router_send(struct router *r, zmq_msg_t *route, const struct router_frame *frames, size_t n);

#endif
