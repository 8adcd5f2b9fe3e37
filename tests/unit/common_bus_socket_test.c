/* A subscriber that has fallen behind outlives its bus (F02, F33): libzmq must have no heartbeat due on a
 * connection that has ended while its queue was full, or it aborts the process. */
#include "common/base.h"

#include <setjmp.h>
#include <cmocka.h>

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#include "common/bus_client.h"
#include "common/bus_peers.h"
#include "common/clock.h"

#define MESSAGE_BYTES 1000
#define QUEUED 10000 /* what the subscriber's own queue holds */
#define FULL_MS 1000 /* nothing has moved for so long: all queues on the way are full */
#define WAIT_MS 10000
#define QUIET_MS                                                                                   \
    11000 /* the first heartbeat behind the end would bring its error, the second the abort */

/* The bus: says where it is, publishes until no queue on the way takes any more, says so, and waits. */
static void publish(int to)
{
    void *zmq = zmq_ctx_new(), *pub = zmq_socket(zmq, ZMQ_XPUB);
    char where[100], text[MESSAGE_BYTES] = { 0 };
    size_t size = sizeof(where);
    int few = 100, wait = 1, full_ms = FULL_MS;

    if (zmq_setsockopt(pub, ZMQ_SNDHWM, &few, sizeof(few)) ||
        zmq_setsockopt(pub, ZMQ_XPUB_NODROP, &wait, sizeof(wait)) ||
        zmq_setsockopt(pub, ZMQ_SNDTIMEO, &full_ms, sizeof(full_ms)) ||
        zmq_bind(pub, "tcp://127.0.0.1:*") ||
        zmq_getsockopt(pub, ZMQ_LAST_ENDPOINT, where, &size) ||
        write(to, where, sizeof(where)) != sizeof(where))
        _exit(1);
    (void)zmq_recv(pub, text, sizeof(text), 0); /* somebody has subscribed */
    for (int sent = 0, last = 0; last >= 0 || sent <= QUEUED; sent += last >= 0)
        last = zmq_send(pub, text, sizeof(text), 0);
    if (write(to, "", 1) == 1)
        (void)pause();
    _exit(1);
}

static size_t read_all(void *sub)
{
    zmq_pollitem_t item = { .socket = sub, .events = ZMQ_POLLIN };
    char text[MESSAGE_BYTES];
    size_t n = 0;

    for (; zmq_poll(&item, 1, n ? 200 : WAIT_MS) > 0; n++)
        assert_true(zmq_recv(sub, text, sizeof(text), 0) >= 0);
    return n;
}

static void one_that_is_behind_outlives_its_bus(void **state)
{
    (void)state;
    int pipes[2];
    char where[100], done;

    assert_int_equal(pipe(pipes), 0);
    pid_t bus = fork();
    if (bus == 0)
        publish(pipes[1]);
    assert_true(bus > 0);
    assert_int_equal(read(pipes[0], where, sizeof(where)), sizeof(where));
    void *zmq = zmq_ctx_new(), *sub = zmq_socket(zmq, ZMQ_SUB);
    assert_true(bus_socket_prepare(sub, &(struct bus_address){ .endpoint = where }));
    assert_int_equal(zmq_setsockopt(sub, ZMQ_SUBSCRIBE, "", 0), 0);
    assert_true(bus_peers_connect(sub, where));
    assert_int_equal(read(pipes[0], &done, 1), 1);

    assert_int_equal(kill(bus, SIGKILL), 0);
    assert_int_equal(waitpid(bus, NULL, 0), bus);
    (void)poll(NULL, 0, QUIET_MS); /* nothing is to happen: that is what is tested */
    assert_true(read_all(sub) >= QUEUED);
    zmq_close(sub);
    zmq_ctx_term(zmq);
    close(pipes[0]);
    close(pipes[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_is_behind_outlives_its_bus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
