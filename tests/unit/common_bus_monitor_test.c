/* What is said of connections, and that nobody waits to say it to one who is gone. */
#include "common/base.h"

#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <zmq.h>

#include "common/bus_monitor.h"
#include "tests/support/folder.h"
#include "tests/support/waiting.h"

#define LIMIT_US (10 * SECOND_US)
#define EVENTS (ZMQ_EVENT_CONNECTED | ZMQ_EVENT_DISCONNECTED)

struct stage {
    void *zmq, *router;
    char folder[FOLDER_MAX], at[FOLDER_MAX + 16];
};

/* One who connects, and what is said of him. */
struct watched {
    void *socket, *monitor;
};

static void *open_socket(struct stage *s, int type)
{
    void *socket = zmq_socket(s->zmq, type);
    int none = 0;

    assert_non_null(socket);
    assert_int_equal(zmq_setsockopt(socket, ZMQ_LINGER, &none, sizeof(none)), 0);
    return socket;
}

static int open_stage(void **state)
{
    static struct stage s;

    s.zmq = zmq_ctx_new();
    folder_make(s.folder, "daybook-monitor");
    snprintf(s.at, sizeof(s.at), "ipc://%s/bus", s.folder);
    s.router = open_socket(&s, ZMQ_ROUTER);
    assert_int_equal(zmq_bind(s.router, s.at), 0);
    *state = &s;
    return 0;
}

static int close_stage(void **state)
{
    struct stage *s = *state;

    if (s->router)
        zmq_close(s->router);
    zmq_ctx_term(s->zmq);
    folder_remove(s->folder);
    return 0;
}

static struct watched connect_watched(struct stage *s)
{
    struct watched w = { .socket = open_socket(s, ZMQ_DEALER) };

    w.monitor = bus_monitor_open(s->zmq, w.socket, EVENTS);
    assert_non_null(w.monitor);
    assert_int_equal(zmq_connect(w.socket, s->at), 0);
    return w;
}

static void close_watched(struct watched *w)
{
    bus_monitor_close(w->socket, w->monitor);
    zmq_close(w->socket);
}

static uint16_t next_event(struct watched *w)
{
    uint16_t event;

    WAIT_UNTIL(bus_monitor_next(w->monitor, &event), LIMIT_US);
    return event;
}

static void it_tells_of_the_beginning_and_of_the_end(void **state)
{
    struct stage *s = *state;
    struct watched w = connect_watched(s);
    uint16_t event;

    assert_int_equal(next_event(&w), ZMQ_EVENT_CONNECTED);
    assert_false(bus_monitor_next(w.monitor, &event));
    zmq_close(s->router);
    s->router = NULL;
    assert_int_equal(next_event(&w), ZMQ_EVENT_DISCONNECTED);
    close_watched(&w);
}

/* All sockets of a context go by the one thread of libzmq that would wait. */
static void whoever_leaves_in_the_midst_of_it_holds_nobody_up(void **state)
{
    struct stage *s = *state;

    for (int i = 0; i < 200; i++) {
        struct watched w = connect_watched(s);
        close_watched(&w);
    }
    struct watched w = connect_watched(s);
    assert_int_equal(next_event(&w), ZMQ_EVENT_CONNECTED);
    close_watched(&w);
}

/* Comes and goes. False: he has waited for a second for somebody who takes him. */
static bool visit(const struct stage *s)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), tries = 1000;

    snprintf(to.sun_path, sizeof(to.sun_path), "%s", s->at + strlen("ipc://"));
    while (connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0 && tries > 0) {
        assert_int_equal(errno, EAGAIN);
        (void)poll(NULL, 0, 1);
        tries--;
    }
    close(fd);
    return tries > 0;
}

/* Each visitor is an event, until no more fit and libzmq's thread waits. */
static void whoever_leaves_it_unread_holds_nobody_up_either(void **state)
{
    struct stage *s = *state;
    void *monitor = bus_monitor_open(s->zmq, s->router, ZMQ_EVENT_ACCEPTED);
    int visitors = 0;

    assert_non_null(monitor);
    while (visit(s))
        assert_true(++visitors < 20000);
    alarm(60); /* ends a test that hangs */
    bus_monitor_close(s->router, monitor);
    struct watched w = connect_watched(s);
    assert_int_equal(next_event(&w), ZMQ_EVENT_CONNECTED);
    close_watched(&w);
    alarm(0);
}

static void nobody_is_closed(void **state)
{
    struct stage *s = *state;

    bus_monitor_close(s->router, NULL);
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, open_stage, close_stage)
    const struct CMUnitTest tests[] = {
        CASE(it_tells_of_the_beginning_and_of_the_end),
        CASE(whoever_leaves_in_the_midst_of_it_holds_nobody_up),
        CASE(whoever_leaves_it_unread_holds_nobody_up_either),
        CASE(nobody_is_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
