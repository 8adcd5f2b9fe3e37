/*
 * zap.c - see zap.h.
 *
 * libzmq's clients take a refusal for final and never try again; told to come back (300) they
 * wait for the handshake to time out, 30 s. So a key that is not known is neither refused nor put
 * off at once: the connection waits while the directory is looked at again. Who registers a key and
 * connects is let in, and so is everybody while a bus that has just started reads the directory.
 */
#include "services/bus/zap.h"

#include <pthread.h>
#include <stdatomic.h>
#include <zmq.h>

#include "common/clock.h"
#include "common/directory.h"
#include "common/log.h"
#include "common/thread.h"
#include "services/bus/stats.h"

#define ENDPOINT "inproc://zeromq.zap.01"
#define FRAME_MAX 256
#define POLL_MS 100
#define CURVE_KEY_SIZE 32

/* Request: peer and delimiter of our ROUTER, then version, request id, domain, address, identity,
 * mechanism, credentials. */
enum {
    PEER,
    DELIMITER,
    VERSION_TEXT,
    REQUEST_ID,
    DOMAIN_NAME,
    ADDRESS,
    IDENTITY,
    MECHANISM,
    CREDENTIALS,
    FRAMES
};

#define WAITING_MAX 128
#define WAITING_POLL_MS 10
#define WAIT_KNOWN_US (2 * SECOND_US)  /* a directory is there, but does not have the key */
#define WAIT_FIRST_US (20 * SECOND_US) /* none was read yet; shorter than libzmq's handshake */

struct question {
    char text[FRAMES][FRAME_MAX];
    size_t len[FRAMES];
    size_t n;
};

/* A connection that waits for its answer. */
struct waiting {
    struct question q;
    char user[IDENTITY_KEY_LEN + 1];
    int64_t since_us; /* monotonic */
};

struct zap {
    void *socket;
    struct keyring *keyring;
    pthread_t thread;
    atomic_bool stopping;
    struct waiting waiting[WAITING_MAX]; /* of the thread, oldest first */
    size_t nwaiting;
};

static bool receive(void *socket, struct question *q)
{
    int more = 1;
    size_t size = sizeof(more);
    for (*q = (struct question){ 0 }; more;) {
        char sink[FRAME_MAX];
        bool fits = q->n < FRAMES;
        int n = zmq_recv(socket, fits ? q->text[q->n] : sink, FRAME_MAX - 1, ZMQ_DONTWAIT);
        if (n < 0)
            return false;
        if (fits)
            q->len[q->n++] = MIN((size_t)n, (size_t)FRAME_MAX - 1);
        if (zmq_getsockopt(socket, ZMQ_RCVMORE, &more, &size) != 0)
            return false;
    }
    return q->n > REQUEST_ID;
}

static void answer(void *socket, const struct question *q, const char *code, const char *text,
                   const char *user)
{
    zmq_send(socket, q->text[PEER], q->len[PEER], ZMQ_SNDMORE);
    zmq_send(socket, "", 0, ZMQ_SNDMORE);
    zmq_send(socket, "1.0", 3, ZMQ_SNDMORE);
    zmq_send(socket, q->text[REQUEST_ID], q->len[REQUEST_ID], ZMQ_SNDMORE);
    zmq_send(socket, code, 3, ZMQ_SNDMORE);
    zmq_send(socket, text, strlen(text), ZMQ_SNDMORE);
    zmq_send(socket, user, strlen(user), ZMQ_SNDMORE);
    zmq_send(socket, "", 0, 0);
    stat_add(code[0] == '2' ? STAT_ZAP_ACCEPTED : STAT_ZAP_REFUSED, 1);
}

/* TCP says an address, ipc says "localhost:uid:gid:pid". */
static bool is_this_machine(const char *address)
{
    return strncmp(address, "127.", 4) == 0 || strcmp(address, "::1") == 0 ||
           strncmp(address, "::ffff:127.", 11) == 0 || strncmp(address, "localhost", 9) == 0;
}

/* False: it shall wait on. */
static bool judge_key(struct zap *z, const struct waiting *w, bool last_word)
{
    int64_t waited_us = clock_monotonic_us() - w->since_us;
    switch (keyring_admits(z->keyring, w->user)) {
    case KEYRING_ADMITTED:
        answer(z->socket, &w->q, "200", "OK", w->user);
        return true;
    case KEYRING_UNKNOWN_YET:
        if (!last_word && waited_us < WAIT_FIRST_US)
            return false;
        answer(z->socket, &w->q, "300", "not known yet", "");
        return true;
    case KEYRING_REFUSED:
        if (!last_word && waited_us < WAIT_KNOWN_US)
            return false;
        break;
    }
    log_warn("bus.key_refused", "a connection with an unknown key", "key", w->user, "address",
             w->q.text[ADDRESS], NULL);
    answer(z->socket, &w->q, "400", "key not registered", "");
    return true;
}

static void drop_waiting(struct zap *z, size_t i)
{
    z->nwaiting--;
    memmove(&z->waiting[i], &z->waiting[i + 1], (z->nwaiting - i) * sizeof(z->waiting[0]));
}

static void judge_waiting(struct zap *z)
{
    for (size_t i = 0; i < z->nwaiting;)
        if (judge_key(z, &z->waiting[i], false))
            drop_waiting(z, i);
        else
            i++;
}

static void judge_curve(struct zap *z, const struct question *q)
{
    char user[IDENTITY_KEY_LEN + 1];
    if (q->n <= CREDENTIALS || q->len[CREDENTIALS] != CURVE_KEY_SIZE ||
        !zmq_z85_encode(user, (const uint8_t *)q->text[CREDENTIALS], CURVE_KEY_SIZE)) {
        answer(z->socket, q, "500", "malformed", "");
        return;
    }
    if (z->nwaiting == WAITING_MAX) { /* somebody has waited longer: that will do */
        judge_key(z, &z->waiting[0], true);
        drop_waiting(z, 0);
    }
    struct waiting *w = &z->waiting[z->nwaiting];
    *w = (struct waiting){ .q = *q, .since_us = clock_monotonic_us() };
    memcpy(w->user, user, sizeof(w->user));
    if (judge_key(z, w, false))
        return;
    z->nwaiting++;
    stat_add(STAT_ZAP_WAITED, 1);
    keyring_refresh(z->keyring);
    directory_refresh();
}

static void judge(struct zap *z, const struct question *q)
{
    bool plain = strcmp(q->text[DOMAIN_NAME], ZAP_DOMAIN_PLAIN) == 0;
    if (q->n <= MECHANISM || strcmp(q->text[VERSION_TEXT], "1.0") != 0)
        answer(z->socket, q, "500", "malformed", "");
    else if (!plain && strcmp(q->text[MECHANISM], "CURVE") == 0)
        judge_curve(z, q);
    else if (plain && strcmp(q->text[MECHANISM], "NULL") == 0 && is_this_machine(q->text[ADDRESS]))
        answer(z->socket, q, "200", "OK", IDENTITY_USER_PLAIN);
    else
        answer(z->socket, q, "400", "not allowed here", "");
}

static void *run(void *arg)
{
    struct zap *z = arg;
    static const int64_t look_every_us = SECOND_US;
    int64_t look_at_us = 0;
    zmq_pollitem_t item = { .socket = z->socket, .events = ZMQ_POLLIN };
    while (!atomic_load(&z->stopping)) {
        struct question q;
        zmq_poll(&item, 1, z->nwaiting ? WAITING_POLL_MS : POLL_MS);
        while (receive(z->socket, &q))
            judge(z, &q);
        judge_waiting(z);
        if (clock_monotonic_us() >= look_at_us) {
            keyring_refresh(z->keyring);
            look_at_us = clock_monotonic_us() + look_every_us;
        }
    }
    return NULL;
}

struct zap *zap_start(void *zmq_context, struct keyring *keyring)
{
    struct zap *z = calloc(1, sizeof(*z));
    int linger = 0;
    if (!z)
        return NULL;
    z->keyring = keyring;
    z->socket = zmq_socket(zmq_context, ZMQ_ROUTER);
    if (z->socket && zmq_setsockopt(z->socket, ZMQ_LINGER, &linger, sizeof(linger)) == 0 &&
        zmq_bind(z->socket, ENDPOINT) == 0 && thread_start(&z->thread, "zap", run, z))
        return z;
    if (z->socket)
        zmq_close(z->socket);
    free(z);
    return NULL;
}

void zap_stop(struct zap *z)
{
    if (!z)
        return;
    atomic_store(&z->stopping, true);
    pthread_join(z->thread, NULL);
    zmq_close(z->socket);
    free(z);
}
