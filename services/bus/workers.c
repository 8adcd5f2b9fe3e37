/*
 * workers.c - registration, answers, liveness (protocols A.2, A.5, A profile).
 *
 * Whatever a worker says that does not fit its state is answered by DISCONNECT, as RFC 18 asks: it
 * then opens a new socket and registers again. That also brings workers back after a restart of the
 * bus, whose heartbeats come from strangers then (F02). An answer whose token is not that of the
 * request at hand is dropped: it is late, doubled or forged.
 */
#include "services/bus/broker_internal.h"

#include <errno.h>
#include <sodium.h>

#include "common/clock.h"
#include "common/log.h"

#define BUSY_MAX_US (15 * MINUTE_US)

static struct envelope envelope_of(struct worker *w)
{
    return (struct envelope){
        .id = &w->id,
        .stack = w->stack,
        .nstack = w->nstack,
        .delimiter = w->delimiter,
    };
}

static bool say(struct broker *b, struct worker *w, enum mdp_worker_command command)
{
    struct envelope e = envelope_of(w);
    struct mdp_head head = mdp_worker_head(w->version, command);
    w->sent_at_us = b->now_us;
    return send_start(b, &e, &head, false) == SENT;
}

/*
 * Ours beat so long after READY, an answer or a heartbeat; other people's may so after each heartbeat
 * alone. Beats that have waited somewhere come together, and do not make it a faster one at once. One within a
 * request may have crossed it on the way.
 */
static void note_beat(struct broker *b, struct worker *w)
{
    if (w->said_at_us)
        w->pace_us = MAX(b->now_us - w->said_at_us, w->pace_us * 3 / 4);
    w->said_at_us = b->now_us;
    w->beats_when_busy = w->beats_when_busy || (w->occupied && w->beat_in_request);
    w->beat_in_request = w->occupied;
}

/* To whoever sent the message at hand. */
static void say_disconnect(struct broker *b)
{
    struct envelope e = incoming_envelope(&b->in);
    struct mdp_head head = mdp_worker_head(b->in.m.version, MDP_TO_WORKER_DISCONNECT);
    if (send_start(b, &e, &head, false) != SENT)
        stats_count_dropped("disconnect");
}

static void lose(struct broker *b, struct worker *w, const char *why)
{
    struct request *r = w->request;
    stat_add(STAT_WORKERS_LOST, 1);
    log_warn("bus.worker_lost", "a worker was given up", "reason", why, "service",
             w->nslots ? w->slots[0].service->name : NULL, NULL);
    w->request = NULL;
    registry_worker_free(&b->registry, w);
    if (r)
        request_orphaned(b, r); /* r->worker says that it was begun, and is not looked into */
}

/* --- READY ---------------------------------------------------------------------------------- */

static bool is_its_own(const struct identity *who, const struct mdp_frame *name)
{
    size_t len = who->serves ? strlen(who->serves) : 0;
    return len == 0 || (name->len >= len && memcmp(name->data, who->serves, len) == 0);
}

static bool may_register(struct broker *b, const struct identity *who)
{
    struct incoming *in = &b->in;
    if (!who->may_serve || b->draining)
        return false;
    for (size_t i = 0; i < in->m.nservices; i++) {
        const struct mdp_frame *name = &in->views[1 + in->m.service + i];
        bool own = name->len == strlen(BUS_SERVICE_NAME) &&
                   memcmp(name->data, BUS_SERVICE_NAME, name->len) == 0;
        if (own || mdp_is_management(name->data, name->len) || !is_its_own(who, name))
            return false;
    }
    return true;
}

/* What has waited for want of workers says nothing of how fast they are. */
static void note_who_came(struct broker *b, const struct worker *w)
{
    for (size_t i = 0; i < w->nslots; i++) {
        struct service *s = w->slots[i].service;
        if (s->workers == 1 && s->queue.count > 0)
            pace_waits(&s->pace, b->now_us);
    }
}

static void on_ready(struct broker *b, const struct identity *who, const char *user)
{
    struct incoming *in = &b->in;
    if (!may_register(b, who)) {
        stat_add(STAT_NOT_ADMITTED, 1);
        log_warn("bus.worker_refused", "this peer may not serve what it offers", "user",
                 user ? user : "inproc", NULL);
        say_disconnect(b);
        return;
    }
    struct worker *w = registry_worker_make(&b->registry, in->frames, in->m.nstack,
                                            &in->views[1 + in->m.service], in->m.nservices);
    if (!w) {
        say_disconnect(b);
        return;
    }
    w->version = in->m.version;
    w->delimiter = in->m.delimiter;
    w->inproc = user == NULL;
    w->ours = w->beats_when_busy = w->slots[0].service->ours;
    w->said_at_us = w->ours ? b->now_us : 0;
    snprintf(w->user, sizeof(w->user), "%s", user ? user : "");
    w->heard = 1;
    w->heard_at_us = w->sent_at_us = b->now_us;
    note_who_came(b, w);
    log_debug("bus.worker_ready", "a worker registered", "service", w->slots[0].service->name,
              NULL);
    request_serve(b, w);
}

/* --- requests ------------------------------------------------------------------------------- */

static size_t address_size(const struct worker *w)
{
    return w->ours ? MDP_ADDRESS_SIZE : MDP_TOKEN_SIZE;
}

/* Big endian. */
static void put_number(uint64_t n, size_t size, uint8_t *out)
{
    for (; size-- > 0; n >>= 8)
        out[size] = (uint8_t)n;
}

static void next_address(struct broker *b, struct worker *w)
{
    put_number(++b->tokens, 8, b->token + 8);
    memcpy(w->address, b->token, MDP_TOKEN_SIZE);
    put_number(w->heard, MDP_ADDRESS_SIZE - MDP_TOKEN_SIZE, w->address + MDP_TOKEN_SIZE);
}

static void send_context(struct broker *b, struct request *r)
{
    zmq_msg_t frame;
    int64_t remaining_ms = (r->deadline_us - b->now_us) / MSEC_US;
    if (zmq_msg_init_size(&frame, context_size_max(&r->context)) != 0) {
        send_bytes(b, "", 0, true); /* the worker refuses what has no context */
        return;
    }
    size_t len = context_finish(&r->context, (uint32_t)MAX(remaining_ms, 1), zmq_msg_data(&frame));
    send_bytes(b, zmq_msg_data(&frame), len, true);
    zmq_msg_close(&frame);
}

/*
 * A foreign worker may be silent while it works: it has the request's time and some more. Ours beat whatever they do,
 * so one that is silent is gone, and its request goes to another at once (F08, F32). But one that beats on when even
 * what another bus may have given it before must be through has not had the request, or its answer was lost (F34).
 */
static int64_t busy_until_us(const struct broker *b, const struct worker *w,
                             const struct request *r)
{
    int64_t until_us = r->deadline_us;
    if (w->ours)
        until_us = MAX(until_us, b->now_us + b->config.deadline_max_us);
    return MIN(until_us + b->config.busy_grace_us, b->now_us + BUSY_MAX_US);
}

bool worker_dispatch(struct broker *b, struct worker *w, struct request *r)
{
    struct envelope e = envelope_of(w);
    struct mdp_head head = mdp_worker_head(w->version, MDP_TO_WORKER_REQUEST);
    enum sent s = send_start(b, &e, &head, true);
    if (s != SENT) {
        lose(b, w, s == SENT_FULL ? "full" : "unreachable");
        return false;
    }
    next_address(b, w);
    send_bytes(b, w->address, address_size(w), true);
    send_bytes(b, "", 0, r->nbody > 0);
    for (size_t i = 0; i < r->nbody; i++) {
        if (r->ours && i == 1)
            send_context(b, r);
        send_copy(b, &r->frames[1 + r->nstack + i], i + 1 < r->nbody);
    }
    worker_set_idle(w, false);
    w->occupied = true;
    w->beat_in_request = false;
    w->request = r;
    w->sent_at_us = r->begun_us = b->now_us;
    w->busy_until_us = busy_until_us(b, w, r);
    r->worker = w;
    return true;
}

/* --- answers -------------------------------------------------------------------------------- */

static bool has_token(struct broker *b, const struct worker *w)
{
    const struct mdp_frame *f = &b->in.views[1 + b->in.m.address];
    return w->occupied && f->len == address_size(w) &&
           sodium_memcmp(f->data, w->address, f->len) == 0;
}

static void on_answer(struct broker *b, struct worker *w)
{
    struct incoming *in = &b->in;
    zmq_msg_t *body = incoming_frame(in, in->m.body);
    bool final = in->m.kind == MDP_FINAL;
    struct request *r = w->request;
    if (!has_token(b, w)) {
        stat_add(STAT_LATE_ANSWERS, 1);
        return;
    }
    if (final) {
        w->occupied = false;
        w->request = NULL;
        w->said_at_us = w->ours ? b->now_us : w->said_at_us;
    }
    if (!r)
        stat_add(STAT_LATE_ANSWERS, 1); /* its client was told at the deadline */
    else if (final)
        r->worker = NULL;
    if (r && final)
        request_final(b, r, body, in->m.nbody);
    else if (r)
        request_partial(b, r, body, in->m.nbody);
    if (final && w->leaving)
        registry_worker_free(&b->registry, w);
    else if (final)
        request_serve(b, w);
}

/* --- the rest ------------------------------------------------------------------------------- */

static void on_disconnect(struct broker *b, struct worker *w)
{
    if (!w->occupied) {
        registry_worker_free(&b->registry, w);
        return;
    }
    w->leaving = true; /* one answer is still to come */
    registry_worker_retire(&b->registry, w);
}

/* WAKE: "relay" is for the relay, the rest is published for whoever listens to that channel. */
static void on_wake(struct broker *b, const struct identity *who)
{
    struct incoming *in = &b->in;
    const struct mdp_frame *channel = &in->views[1 + in->m.service];
    if (!who->may_serve) {
        stat_add(STAT_NOT_ADMITTED, 1);
        return;
    }
    stat_add(STAT_WAKES, 1);
    if (channel->len == strlen(BUS_WAKE_RELAY) &&
        memcmp(channel->data, BUS_WAKE_RELAY, channel->len) == 0) {
        if (zmq_send(b->relay_wake, "", 0, ZMQ_DONTWAIT) < 0 && errno != EAGAIN)
            stats_count_dropped("wake"); /* EAGAIN: it has enough of them */
        return;
    }
    char topic[sizeof(BUS_TOPIC_WAKE) + MDP_SERVICE_NAME_MAX];
    size_t prefix = strlen(BUS_TOPIC_WAKE);
    memcpy(topic, BUS_TOPIC_WAKE, prefix);
    memcpy(topic + prefix, channel->data, channel->len);
    if (zmq_send(b->publish, topic, prefix + channel->len, ZMQ_DONTWAIT | ZMQ_SNDMORE) < 0) {
        stats_count_dropped("wake");
        return;
    }
    const struct mdp_frame *data = in->m.nbody ? &in->views[1 + in->m.body] : NULL;
    if (zmq_send(b->publish, data ? data->data : "", data ? data->len : 0, 0) < 0)
        stats_count_dropped("wake");
}

static void on_known(struct broker *b, struct worker *w, const struct identity *who)
{
    w->heard_at_us = b->now_us;
    w->heard++;
    switch (b->in.m.kind) {
    case MDP_READY: /* a second one: RFC 18 says DISCONNECT */
        say_disconnect(b);
        lose(b, w, "second_ready");
        break;
    case MDP_PARTIAL:
    case MDP_FINAL:
        on_answer(b, w);
        break;
    case MDP_HEARTBEAT:
        note_beat(b, w);
        break;
    case MDP_DISCONNECT:
        on_disconnect(b, w);
        break;
    case MDP_WAKE:
        on_wake(b, who);
        break;
    case MDP_PROBE:
    case MDP_BAD:
    case MDP_REQUEST:
        break;
    }
}

static void on_stranger(struct broker *b, const struct identity *who, const char *user)
{
    switch (b->in.m.kind) {
    case MDP_READY:
        on_ready(b, who, user);
        break;
    case MDP_WAKE:
        on_wake(b, who);
        break;
    case MDP_DISCONNECT:
        break;
    default: /* an answer or a heartbeat before READY */
        if (b->in.m.kind != MDP_HEARTBEAT)
            stat_add(STAT_LATE_ANSWERS, 1);
        say_disconnect(b);
        break;
    }
}

void worker_message(struct broker *b, const struct identity *who, const char *user)
{
    const struct mdp_frame *id = &b->in.views[0];
    struct worker *w = registry_worker(&b->registry, id->data, id->len);
    if (who->kind == IDENTITY_NONE) {
        stat_add(STAT_NOT_ADMITTED, 1);
        say_disconnect(b);
        if (w)
            lose(b, w, "key_not_admitted");
        return;
    }
    if (w)
        on_known(b, w, who);
    else
        on_stranger(b, who, user);
}

/* --- liveness ------------------------------------------------------------------------------- */

/* Three of its own beats: ours beat each second, other people's as they like. No beat was heard yet of who has just
 * come, nor of one of ours that has not been free for a second since. */
static int64_t patience_us(const struct broker *b, const struct worker *w)
{
    int64_t beats_us = MDP_BEATS_MISSED * MAX(w->pace_us, b->config.heartbeat_us);
    return w->pace_us ? MIN(beats_us, b->config.expiry_us) : b->config.expiry_us;
}

static bool is_overdue(const struct broker *b, const struct worker *w)
{
    bool may_take_longer = w->beats_when_busy && !w->ours; /* busy is not dead (A.5, 3) */
    return w->occupied && !may_take_longer && b->now_us >= w->busy_until_us;
}

static bool is_silent(const struct broker *b, const struct worker *w)
{
    bool may_be_silent = w->occupied && !w->beats_when_busy;
    return !may_be_silent && b->now_us - w->heard_at_us >= patience_us(b, w);
}

/* Why a worker must go now; NULL: it may stay. */
static const char *verdict(struct broker *b, struct worker *w)
{
    if (is_overdue(b, w))
        return "overdue";
    if (is_silent(b, w))
        return "silent";
    bool quiet = b->now_us - w->sent_at_us >= b->config.heartbeat_us;
    return quiet && !say(b, w, MDP_TO_WORKER_HEARTBEAT) ? "unreachable" : NULL;
}

/* What was registered before its key became another's, too. */
static bool may_still_serve(const struct identity *who, const struct worker *w)
{
    for (size_t i = 0; i < w->nslots; i++) {
        const char *name = w->slots[i].service->name;
        const struct mdp_frame frame = { .data = name, .len = strlen(name) };
        if (!is_its_own(who, &frame))
            return false;
    }
    return who->may_serve;
}

static const char *verdict_on_key(struct broker *b, struct worker *w)
{
    if (may_still_serve(identity_of(&b->identities, w->inproc ? NULL : w->user), w))
        return NULL;
    return say(b, w, MDP_TO_WORKER_DISCONNECT) ? "key_not_admitted" : "unreachable";
}

/* All are judged, not only the first in some order (A.5, 5). Losing one may lose another, that its
 * request was then given to, so the walk begins anew after each. */
static void judge_all(struct broker *b, const char *(*judge)(struct broker *, struct worker *))
{
    struct hnode *n = hmap_next(&b->registry.workers, NULL);
    while (n) {
        struct worker *w = HMAP_OWNER(n, struct worker, node);
        const char *why = judge(b, w);
        if (why)
            lose(b, w, why);
        n = hmap_next(&b->registry.workers, why ? NULL : n);
    }
}

void workers_excuse(struct broker *b)
{
    b->excused_at_us = b->now_us - 1; /* what is heard from now on is heard since */
    for (struct hnode *n = NULL; (n = hmap_next(&b->registry.workers, n));) {
        struct worker *w = HMAP_OWNER(n, struct worker, node);
        w->heard_at_us = b->excused_at_us;
        w->said_at_us = w->said_at_us ? b->excused_at_us : 0;
        w->busy_until_us = MAX(w->busy_until_us, b->now_us + b->config.busy_grace_us);
    }
}

static bool has_work(const struct worker *w)
{
    for (size_t i = 0; i < w->nslots; i++)
        if (w->slots[i].service->queue.count > 0)
            return true;
    return false;
}

/* One that is lost on the way changes the table. */
static void serve_free(struct broker *b, int64_t heard_after_us)
{
    for (struct hnode *next, *n = hmap_next(&b->registry.workers, NULL); n; n = next) {
        struct worker *w = HMAP_OWNER(n, struct worker, node);
        bool gets = !w->occupied && w->heard_at_us > heard_after_us && has_work(w);
        if (gets)
            request_serve(b, w);
        next = hmap_next(&b->registry.workers, gets ? NULL : n);
    }
}

/* First to those who have been heard since. */
void workers_go_on(struct broker *b)
{
    for (struct hnode *n = NULL; (n = hmap_next(&b->registry.services, n));) {
        struct service *s = HMAP_OWNER(n, struct service, node);
        if (s->queue.count > 0)
            pace_waits(&s->pace, b->now_us); /* a standstill is no pace */
    }
    serve_free(b, b->excused_at_us);
    serve_free(b, 0);
}

void workers_tick(struct broker *b)
{
    judge_all(b, verdict);
}

void workers_review(struct broker *b)
{
    judge_all(b, verdict_on_key);
}

void workers_dismiss(struct broker *b)
{
    for (struct hnode *n = NULL; (n = hmap_next(&b->registry.workers, n));)
        say(b, HMAP_OWNER(n, struct worker, node), MDP_TO_WORKER_DISCONNECT);
}
