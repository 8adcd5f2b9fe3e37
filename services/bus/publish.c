/* publish.c - see publish.h. */
#include "services/bus/publish.h"

#include <errno.h>
#include <sodium.h>
#include <zmq.h>

#include "common/bus_monitor.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/mdp.h"
#include "services/bus/broker.h"
#include "services/bus/stats.h"

#define POLL_MS 200
#define BURST 512
#define FRAMES_MAX 4
#define SUBSCRIPTION_BYTES_MAX 1024 /* larger ones cost their sender the connection */
#define TOPICS_MAX 64               /* different ones of a key that is not our own */
#define REFUSED_MAX 256 /* different ones of a key; libzmq keeps them all, up to 32 KiB each */
#define RESET_US (10 * SECOND_US)
#define REVIEW_US SECOND_US
/* A newcomer who asked for heads gets one at once, but not each of a thousand newcomers. */
#define GREETING_US (50 * MSEC_US)
#define CLOSE_WAIT_MS 500

/* Different topics, by their hashes; it never loses one (publish.h). */
struct topics {
    uint64_t hashes[REFUSED_MAX];
    size_t n;
};

/* Somebody who asked for subscriptions, and the most that he was allowed when he got one. */
struct listener {
    struct hnode node;
    bool subscribed, hears_all, hears_own;
    struct id tenant;
    struct topics admitted, refused;
    char user[48];
};

struct publisher {
    struct publisher_config config;
    void *xpub; /* NULL: being opened anew */
    void *pull;
    struct identity_cache identities;
    struct hmap listeners;
    int64_t review_at_us, greeted_at_us, reset_at_us;
    bool greet;
    bool has_head;
    uint8_t topic_secret[crypto_shorthash_KEYBYTES];
    uint8_t head_log_id[16], head_seq[8];
};

/* --- the socket ----------------------------------------------------------------------------- */

static bool set_int(void *socket, int option, int value)
{
    return zmq_setsockopt(socket, option, &value, sizeof(value)) == 0;
}

static bool open_xpub(struct publisher *p, const char **reason_out)
{
    const struct publisher_config *c = &p->config;
    void *s = zmq_socket(c->zmq_context, ZMQ_XPUB);
    *reason_out = "the event endpoint cannot be bound";
    if (!s)
        return false;
    bool ok = broker_socket_options(s, SUBSCRIPTION_BYTES_MAX) && set_int(s, ZMQ_SNDHWM, 10000) &&
              set_int(s, ZMQ_RCVHWM, 10000) && set_int(s, ZMQ_XPUB_VERBOSER, 1) &&
              set_int(s, ZMQ_XPUB_NODROP, 0) && set_int(s, ZMQ_XPUB_MANUAL, 1);
    if (ok && c->plain) {
        if (!broker_endpoint_is_local(c->plain))
            *reason_out = "a plain endpoint must be on loopback, ipc or inproc";
        ok = broker_endpoint_is_local(c->plain) &&
             broker_socket_secure(s, ZAP_DOMAIN_PLAIN, NULL) && broker_socket_bind(s, c->plain);
    }
    if (ok && c->listen)
        ok = c->secret_key && broker_socket_secure(s, ZAP_DOMAIN_CURVE, c->secret_key) &&
             broker_socket_bind(s, c->listen);
    if (!ok) {
        zmq_close(s);
        return false;
    }
    p->xpub = s;
    return true;
}

static int unbind_all(void *socket, const char *endpoints)
{
    char one[256];
    int n = 0;
    for (const char *p = endpoints ? endpoints : ""; *p; p += *p == ',') {
        size_t len = strcspn(p, ",");
        if (len == 0 || len >= sizeof(one))
            break; /* was not bound either */
        memcpy(one, p, len);
        one[len] = 0;
        n += zmq_unbind(socket, one) == 0;
        p += len;
    }
    return n;
}

/* Lets go of the addresses before it returns: libzmq closes listeners in the background, and the
 * file of an ipc address that is bound again meanwhile would be removed with the old one. */
static void close_xpub(struct publisher *p)
{
    void *monitor = bus_monitor_open(p->config.zmq_context, p->xpub, ZMQ_EVENT_CLOSED);
    char sink[512];
    bool heard = monitor && set_int(monitor, ZMQ_RCVTIMEO, CLOSE_WAIT_MS);
    int left = unbind_all(p->xpub, p->config.plain) + unbind_all(p->xpub, p->config.listen);
    while (heard && left-- > 0) /* two frames: event, address */
        heard = zmq_recv(monitor, sink, sizeof(sink), 0) >= 0 &&
                zmq_recv(monitor, sink, sizeof(sink), 0) >= 0;
    bus_monitor_close(p->xpub, monitor);
    int now = 0;
    zmq_setsockopt(p->xpub, ZMQ_LINGER, &now, sizeof(now));
    zmq_close(p->xpub);
    p->xpub = NULL;
}

static void forget_listeners(struct publisher *p)
{
    for (struct hnode *n; p->listeners.count > 0 && (n = hmap_next(&p->listeners, NULL));) {
        hmap_remove(&p->listeners, n);
        free(HMAP_OWNER(n, struct listener, node));
    }
}

struct publisher *publisher_new(const struct publisher_config *config, const char **reason_out)
{
    struct publisher *p = calloc(1, sizeof(*p));
    *reason_out = "out of memory or sockets";
    if (!p)
        return NULL;
    p->config = *config;
    randombytes_buf(p->topic_secret, sizeof(p->topic_secret));
    p->pull = zmq_socket(config->zmq_context, ZMQ_PULL);
    if (p->pull && set_int(p->pull, ZMQ_RCVHWM, 10000) && set_int(p->pull, ZMQ_LINGER, 0) &&
        zmq_bind(p->pull, BROKER_PUBLISH) == 0 && hmap_init(&p->listeners) &&
        identity_cache_init(&p->identities, config->keyring) && open_xpub(p, reason_out))
        return p;
    publisher_free(p);
    return NULL;
}

void publisher_free(struct publisher *p)
{
    if (!p)
        return;
    if (p->listeners.buckets)
        forget_listeners(p);
    hmap_fini(&p->listeners);
    identity_cache_fini(&p->identities);
    if (p->xpub)
        zmq_close(p->xpub);
    if (p->pull)
        zmq_close(p->pull);
    free(p);
}

/* --- subscriptions -------------------------------------------------------------------------- */

static bool may_hear(const struct identity *who, const char *topic, size_t len)
{
    char own[ID_TEXT_MAX];
    if (who->kind == IDENTITY_NONE)
        return false;
    if (who->hears_all)
        return true;
    if (len == strlen(BUS_TOPIC_HEAD) && memcmp(topic, BUS_TOPIC_HEAD, len) == 0)
        return true;
    if (!who->hears_own)
        return false;
    id_text(who->tenant, own);
    size_t n = strlen(own);
    return len > n && memcmp(topic, own, n) == 0 && topic[n] == '/';
}

static struct listener *listener_of(struct publisher *p, const char *user)
{
    struct hnode *n = user ? hmap_find(&p->listeners, user, strlen(user)) : NULL;
    if (n)
        return HMAP_OWNER(n, struct listener, node);
    struct listener *l = user ? calloc(1, sizeof(*l)) : NULL;
    if (!l || strlen(user) >= sizeof(l->user)) {
        free(l);
        return NULL;
    }
    snprintf(l->user, sizeof(l->user), "%s", user);
    hmap_insert(&p->listeners, &l->node, l->user, strlen(l->user));
    return l;
}

static uint64_t hash_topic(const struct publisher *p, const char *topic, size_t len)
{
    uint64_t hash;
    crypto_shorthash((unsigned char *)&hash, (const unsigned char *)topic, len, p->topic_secret);
    return hash;
}

/* False: it is new, and there are `max` already. */
static bool topics_have_or_add(struct topics *t, size_t max, uint64_t hash, bool *new_out)
{
    *new_out = false;
    for (size_t i = 0; i < t->n; i++)
        if (t->hashes[i] == hash)
            return true;
    *new_out = true;
    if (t->n == max)
        return false;
    t->hashes[t->n++] = hash;
    return true;
}

/* Counted by key over all its connections; a reset counts anew. */
static bool may_have_one_more(struct listener *l, const struct identity *who, uint64_t topic)
{
    bool new, trusted = who->hears_all || who->kind == IDENTITY_PLAIN;
    return trusted || topics_have_or_add(&l->admitted, TOPICS_MAX, topic, &new);
}

static bool wants_heads(const char *topic, size_t len)
{
    return len <= strlen(BUS_TOPIC_HEAD) && memcmp(topic, BUS_TOPIC_HEAD, len) == 0;
}

static void reset(struct publisher *p)
{
    forget_listeners(p);
    close_xpub(p);
    p->review_at_us = 0; /* open it anew */
    p->reset_at_us = clock_monotonic_us() + RESET_US;
}

/* A key that no well-meaning program would use so. */
static void throw_out(struct publisher *p, const char *user, const char *why)
{
    if (user && strcmp(user, IDENTITY_USER_PLAIN) != 0)
        keyring_ban(p->config.keyring, user);
    log_warn("bus.subscribers_reset", why, "user", user, NULL);
    reset(p);
}

/* libzmq remembers what was refused for as long as the connection stands (publish.h). */
static void refuse_topic(struct publisher *p, struct listener *l, const char *user, uint64_t topic)
{
    bool new = true;
    stat_add(STAT_SUBSCRIPTIONS_REFUSED, 1);
    bool bounded = !l || topics_have_or_add(&l->refused, REFUSED_MAX, topic, &new);
    if (!bounded)
        throw_out(p, user, "too many subscriptions were refused to a key: all connect again");
    else if (new)
        log_warn("bus.subscription_refused", "not this key's to hear", "user", user, NULL);
}

static void note_rights(struct listener *l, const struct identity *who)
{
    if (!l->subscribed)
        l->tenant = who->tenant;
    l->subscribed = true;
    l->hears_all |= who->hears_all;
    l->hears_own |= who->hears_own;
}

static void on_subscribe(struct publisher *p, const char *user, const char *topic, size_t len)
{
    const struct identity *who = identity_of(&p->identities, user ? user : "");
    /* The connection was let in by keys that may be newer than ours. */
    if (who->kind == IDENTITY_NONE) {
        if (identity_cache_refresh(&p->identities))
            p->review_at_us = 0; /* others may have lost theirs */
        who = identity_of(&p->identities, user ? user : "");
    }
    struct listener *l = listener_of(p, user);
    uint64_t hash = hash_topic(p, topic, len);
    if (!l || !may_hear(who, topic, len) || !may_have_one_more(l, who, hash)) {
        refuse_topic(p, l, user, hash);
        return;
    }
    note_rights(l, who);
    /* applies to the peer whose message was read last */
    if (zmq_setsockopt(p->xpub, ZMQ_SUBSCRIBE, topic, len) == 0)
        stat_add(STAT_SUBSCRIPTIONS, 1);
    p->greet = p->greet || wants_heads(topic, len);
}

/* Takes all subscriptions that have come: nothing may be left waiting (publish.h). */
static void read_subscriptions(struct publisher *p)
{
    zmq_msg_t m;
    zmq_msg_init(&m);
    while (p->xpub && zmq_msg_recv(&m, p->xpub, ZMQ_DONTWAIT) >= 0) {
        const char *data = zmq_msg_data(&m), *user = zmq_msg_gets(&m, "User-Id");
        size_t len = zmq_msg_size(&m);
        if (len > 0 && data[0] == 1) {
            on_subscribe(p, user, data + 1, len - 1);
        } else if (len > 0 && data[0] == 0) {
            zmq_setsockopt(p->xpub, ZMQ_UNSUBSCRIBE, data + 1, len - 1);
        } else {
            throw_out(p, user, "a subscriber sent a message of its own: all connect again");
        }
    }
    zmq_msg_close(&m);
}

/* Somebody with subscriptions is not what he was any more. */
static bool has_revoked(struct publisher *p)
{
    for (struct hnode *n = NULL; (n = hmap_next(&p->listeners, n));) {
        const struct listener *l = HMAP_OWNER(n, struct listener, node);
        if (!l->subscribed)
            continue;
        const struct identity *now = identity_of(&p->identities, l->user);
        if (now->kind == IDENTITY_NONE || now->hears_all != l->hears_all ||
            now->hears_own != l->hears_own || !id_equal(now->tenant, l->tenant))
            return true;
    }
    return false;
}

static void review(struct publisher *p)
{
    const char *reason;
    bool changed = identity_cache_refresh(&p->identities);
    if (!changed && clock_monotonic_us() < p->review_at_us)
        return;
    p->review_at_us = clock_monotonic_us() + REVIEW_US;
    if (p->xpub && clock_monotonic_us() >= p->reset_at_us && has_revoked(p)) {
        log_info("bus.subscribers_reset", "a key was revoked: all subscribers connect again", NULL);
        reset(p);
    }
    if (!p->xpub && !open_xpub(p, &reason)) {
        p->review_at_us = 0; /* the old one is still letting go of the address */
        log_debug("bus.rebind", reason, NULL);
    }
}

/* --- messages ------------------------------------------------------------------------------- */

struct passing {
    zmq_msg_t frames[FRAMES_MAX];
    size_t n;
};

static bool receive(struct publisher *p, struct passing *m)
{
    m->n = 0;
    for (bool more = true; more;) {
        zmq_msg_t *f = &m->frames[MIN(m->n, (size_t)FRAMES_MAX - 1)];
        zmq_msg_close(f);
        zmq_msg_init(f);
        if (zmq_msg_recv(f, p->pull, ZMQ_DONTWAIT) < 0)
            return false;
        m->n++;
        more = zmq_msg_more(f);
    }
    return m->n <= FRAMES_MAX;
}

/* topic, log_id, seq, event; a head has the last one empty. */
static void note_head(struct publisher *p, struct passing *m)
{
    bool positioned = m->n == 4 && zmq_msg_size(&m->frames[1]) == sizeof(p->head_log_id) &&
                      zmq_msg_size(&m->frames[2]) == sizeof(p->head_seq);
    if (!positioned)
        return;
    memcpy(p->head_log_id, zmq_msg_data(&m->frames[1]), sizeof(p->head_log_id));
    memcpy(p->head_seq, zmq_msg_data(&m->frames[2]), sizeof(p->head_seq));
    p->has_head = true;
    bool head = zmq_msg_size(&m->frames[3]) == 0;
    stat_add(head ? STAT_HEADS : STAT_PUBLISHED, 1);
}

/* False: not sent, or the socket is gone; the rest of the message is pointless then. */
static bool send_frame(struct publisher *p, zmq_msg_t *frame, bool more)
{
    if (zmq_msg_send(frame, p->xpub, more ? ZMQ_SNDMORE : 0) < 0) {
        log_error("bus.publish_failed", zmq_strerror(errno), NULL);
        return false;
    }
    read_subscriptions(p); /* what the call has let in (publish.h) */
    return p->xpub != NULL;
}

/* With nobody connected the message goes nowhere. */
static void send_all(struct publisher *p, zmq_msg_t *frames, size_t n)
{
    bool going = p->xpub != NULL;
    for (size_t i = 0; i < n && going; i++)
        going = send_frame(p, &frames[i], i + 1 < n);
}

static void forward(struct publisher *p, struct passing *m)
{
    note_head(p, m);
    send_all(p, m->frames, m->n);
}

static bool set_bytes(zmq_msg_t *frame, const void *data, size_t len)
{
    if (zmq_msg_init_size(frame, len) != 0)
        return false;
    memcpy(zmq_msg_data(frame), data, len);
    return true;
}

static void greet(struct publisher *p)
{
    int64_t now_us = clock_monotonic_us();
    if (!p->greet || !p->has_head || !p->xpub || now_us < p->greeted_at_us + GREETING_US)
        return;
    p->greet = false;
    p->greeted_at_us = now_us;
    zmq_msg_t frames[FRAMES_MAX];
    if (!set_bytes(&frames[0], BUS_TOPIC_HEAD, strlen(BUS_TOPIC_HEAD)) ||
        !set_bytes(&frames[1], p->head_log_id, sizeof(p->head_log_id)) ||
        !set_bytes(&frames[2], p->head_seq, sizeof(p->head_seq)) || !set_bytes(&frames[3], "", 0))
        return; /* these are small and live within the frame: it cannot fail */
    send_all(p, frames, FRAMES_MAX);
    for (size_t i = 0; i < FRAMES_MAX; i++)
        zmq_msg_close(&frames[i]);
    stat_add(STAT_HEADS, 1);
}

void publisher_run(struct publisher *p, bool (*stopping)(void *arg), void *arg)
{
    struct passing m;
    for (size_t i = 0; i < FRAMES_MAX; i++)
        zmq_msg_init(&m.frames[i]);
    while (!stopping(arg)) {
        zmq_pollitem_t items[] = { { .socket = p->pull, .events = ZMQ_POLLIN },
                                   { .socket = p->xpub, .events = ZMQ_POLLIN } };
        int ms = p->greet && p->has_head ? (int)(GREETING_US / MSEC_US) : POLL_MS;
        if (zmq_poll(items, p->xpub ? 2 : 1, p->xpub ? ms : 10) < 0 && errno != EINTR)
            log_error("bus.poll_failed", zmq_strerror(errno), NULL);
        review(p);
        if (p->xpub)
            read_subscriptions(p);
        for (int i = 0; i < BURST && receive(p, &m); i++)
            forward(p, &m);
        greet(p);
    }
    for (size_t i = 0; i < FRAMES_MAX; i++)
        zmq_msg_close(&m.frames[i]);
}
