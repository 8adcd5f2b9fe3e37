/* zap.c - see zap.h. */
#include "services/bus/zap.h"

#include <pthread.h>
#include <stdatomic.h>
#include <zmq.h>

#include "common/clock.h"
#include "common/directory.h"
#include "common/log.h"
#include "services/bus/stats.h"

#define ENDPOINT "inproc://zeromq.zap.01"
#define FRAME_MAX 256
#define POLL_MS 100
#define CURVE_KEY_SIZE 32

/* Request: version, request id, domain, address, identity, mechanism, credentials. */
enum { VERSION_TEXT, REQUEST_ID, DOMAIN_NAME, ADDRESS, IDENTITY, MECHANISM, CREDENTIALS, FRAMES };

#define STRANGERS 64
#define GRACE_US (2 * SECOND_US)
#define AWAY_US (5 * SECOND_US)

/* A key that was not admitted when it was asked for. */
struct stranger {
    char user[IDENTITY_KEY_LEN + 1];
    int64_t since_us, last_us; /* monotonic */
};

struct zap {
    void *socket;
    struct keyring *keyring;
    pthread_t thread;
    atomic_bool stopping;
    struct stranger strangers[STRANGERS]; /* of the thread */
    size_t next_stranger;
};

struct question {
    char text[FRAMES][FRAME_MAX];
    size_t len[FRAMES];
    size_t n;
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

static struct stranger *find_stranger(struct zap *z, const char *user)
{
    for (size_t i = 0; i < STRANGERS; i++)
        if (strcmp(z->strangers[i].user, user) == 0)
            return &z->strangers[i];
    return NULL;
}

/*
 * True for a key that is first asked for now or was a moment ago: the directory is looked at again
 * before the last word, since libzmq never tries again after a refusal, and somebody who registers
 * a key and connects at once must not be shut out for good. Of many unknown keys the oldest are
 * forgotten, which only gives them another moment.
 */
static bool is_new_here(struct zap *z, const char *user)
{
    int64_t now_us = clock_monotonic_us();
    struct stranger *s = find_stranger(z, user);
    if (!s) {
        s = &z->strangers[z->next_stranger++ % STRANGERS];
        *s = (struct stranger){ .since_us = now_us };
        snprintf(s->user, sizeof(s->user), "%s", user);
    } else if (now_us - s->last_us > AWAY_US) {
        s->since_us = now_us;
    }
    s->last_us = now_us;
    return now_us - s->since_us < GRACE_US;
}

static void judge_stranger(struct zap *z, const struct question *q, const char *user)
{
    if (is_new_here(z, user)) {
        directory_refresh();
        answer(z->socket, q, "300", "not known yet", "");
        return;
    }
    log_warn("bus.key_refused", "a connection with an unknown key", "key", user, "address",
             q->text[ADDRESS], NULL);
    answer(z->socket, q, "400", "key not registered", "");
}

static void judge_curve(struct zap *z, const struct question *q)
{
    char user[IDENTITY_KEY_LEN + 1];
    if (q->n <= CREDENTIALS || q->len[CREDENTIALS] != CURVE_KEY_SIZE ||
        !zmq_z85_encode(user, (const uint8_t *)q->text[CREDENTIALS], CURVE_KEY_SIZE)) {
        answer(z->socket, q, "500", "malformed", "");
        return;
    }
    switch (keyring_admits(z->keyring, user)) {
    case KEYRING_ADMITTED:
        answer(z->socket, q, "200", "OK", user);
        break;
    case KEYRING_UNKNOWN_YET:
        answer(z->socket, q, "300", "not known yet", "");
        break;
    case KEYRING_REFUSED:
        judge_stranger(z, q, user);
        break;
    }
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
        zmq_poll(&item, 1, POLL_MS);
        while (receive(z->socket, &q))
            judge(z, &q);
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
    z->socket = zmq_socket(zmq_context, ZMQ_REP);
    if (z->socket && zmq_setsockopt(z->socket, ZMQ_LINGER, &linger, sizeof(linger)) == 0 &&
        zmq_bind(z->socket, ENDPOINT) == 0 && pthread_create(&z->thread, NULL, run, z) == 0) {
        pthread_setname_np(z->thread, "zap");
        return z;
    }
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
