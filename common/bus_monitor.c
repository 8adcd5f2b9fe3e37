/* bus_monitor.c - see bus_monitor.h. */
#include "common/bus_monitor.h"

#include <assert.h>
#include <stdatomic.h>
#include <zmq.h>

#include "common/bus_frames.h"

/* Its name is its own: libzmq gives that of one that was closed free in the background only. */
static bool begin(void *socket, void *monitor, int events)
{
    static atomic_uint_fast64_t opened;
    char name[48];

    snprintf(name, sizeof name, "inproc://monitor-%" PRIuFAST64, atomic_fetch_add(&opened, 1));
    return zmq_socket_monitor(socket, name, events) == 0 && zmq_connect(monitor, name) == 0;
}

void *bus_monitor_open(void *zmq_context, void *socket, int events)
{
    void *monitor = zmq_socket(zmq_context, ZMQ_PAIR);

    if (!monitor || begin(socket, monitor, events))
        return monitor;
    bus_monitor_close(socket, monitor);
    return NULL;
}

/* libzmq's thread waits, for ever and with all that goes through it, when it has an event to say and nobody is there
 * any more: what is closed goes on in the background, and has events. While it waits for a place in the queue it holds
 * the lock that the stop needs. */
void bus_monitor_close(void *socket, void *monitor)
{
    uint16_t event;

    if (!monitor)
        return;
    while (bus_monitor_next(monitor, &event))
        continue;
    zmq_socket_monitor(socket, NULL, 0);
    zmq_close(monitor);
}

/* Events are two frames: uint16 event, uint32 value; then the endpoint. */
bool bus_monitor_next(void *monitor, uint16_t *event_out)
{
    struct bus_frames f;

    if (!bus_frames_receive(monitor, &f))
        return false;
    assert(zmq_msg_size(&f.frame[0]) >= sizeof *event_out);
    memcpy(event_out, zmq_msg_data(&f.frame[0]), sizeof *event_out);
    bus_frames_close(&f);
    return true;
}
