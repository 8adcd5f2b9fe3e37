/*
 * request.c - from a client's message to the one answer that it gets.
 *
 *     taken -> waiting -> at a worker -> answered
 *         \        ^          |  lost: once again, if that is safe
 *          \       +----------+
 *           +--> refused, expired
 *
 * A request is in the heap of deadlines from the first to the last of these, so that none is ever
 * forgotten. Its frames are kept until it is answered, because a worker may be lost; copying a
 * frame only counts a reference.
 */
#include "services/bus/broker_internal.h"

#include <assert.h>

#include "common/clock.h"

/* A worker says itself that time is up; the bus speaks only after it had the chance to. */
#define ANSWER_GRACE_US (500 * MSEC_US)
/* With less left there is no point in starting (protocols H.2). */
#define REMAINING_MIN_US (5 * MSEC_US)
/* Longer than this nobody is made to wait whose turn can be foreseen. */
#define WAIT_MAX_US (3 * SECOND_US)
#define PARTS_MAX_BYTES MIB
#define PARTS_MAX 1024
/* A waiting frame up to this size is copied: a slice of a receive buffer keeps all 8 KiB of it. */
#define COMPACT_MAX (4 * KIB)

/* --- making and ending ---------------------------------------------------------------------- */

static zmq_msg_t *body_of(struct request *r)
{
    return &r->frames[1 + r->nstack];
}

static struct envelope envelope_of(struct request *r)
{
    return (struct envelope){
        .id = &r->frames[0],
        .stack = &r->frames[1],
        .nstack = r->nstack,
        .delimiter = r->delimiter,
    };
}

static struct request *request_new(struct incoming *in, zmq_msg_t **body, size_t nbody)
{
    struct request *r = calloc(1, sizeof(*r) + (1 + in->m.nstack + nbody) * sizeof(zmq_msg_t));
    if (!r)
        return NULL;
    r->version = in->m.version;
    r->delimiter = in->m.delimiter;
    r->nstack = in->m.nstack;
    r->nbody = nbody;
    r->bytes = sizeof(*r);
    for (size_t i = 0; i < 1 + r->nstack; i++) {
        r->bytes += zmq_msg_size(&in->frames[i]) + sizeof(zmq_msg_t);
        zmq_msg_init(&r->frames[i]);
        zmq_msg_move(&r->frames[i], &in->frames[i]);
    }
    for (size_t i = 0; i < nbody; i++) {
        r->bytes += zmq_msg_size(body[i]) + sizeof(zmq_msg_t);
        zmq_msg_init(&body_of(r)[i]);
        zmq_msg_move(&body_of(r)[i], body[i]);
    }
    return r;
}

static void parts_free(struct request *r)
{
    for (size_t i = 0; i < r->nparts; i++)
        zmq_msg_close(&r->parts[i]);
    free(r->parts);
    r->parts = NULL;
    r->nparts = r->parts_cap = r->parts_bytes = 0;
}

static void waits(struct broker *b, struct request *r)
{
    b->queued_bytes += r->bytes;
    r->flow->queued_bytes += r->bytes;
}

static void waits_no_more(struct broker *b, struct request *r)
{
    b->queued_bytes -= r->bytes;
    r->flow->queued_bytes -= r->bytes;
}

static void request_free(struct broker *b, struct request *r)
{
    deadlines_clear(&b->deadlines, &r->expiry);
    if (r->item.lane) {
        queue_remove(&r->service->queue, &r->item);
        waits_no_more(b, r);
    }
    if (r->worker)
        r->worker->request = NULL;
    if (r->flow) {
        r->flow->inflight--;
        b->nrequests--;
    }
    for (size_t i = 0; i < 1 + r->nstack + r->nbody; i++)
        zmq_msg_close(&r->frames[i]);
    parts_free(r);
    context_fini(&r->context);
    r->service->held--;
    registry_service_release(&b->registry, r->service);
    free(r);
}

/* --- answers -------------------------------------------------------------------------------- */

static void send_counted(struct broker *b, struct request *r, zmq_msg_t *frame, bool more)
{
    if (r->flow)
        meter_frame(r->flow->unread, frame);
    send_move(b, frame, more);
}

static void send_answer(struct broker *b, struct request *r, bool final, zmq_msg_t *body,
                        size_t nbody)
{
    struct envelope e = envelope_of(r);
    struct mdp_head head = mdp_client_head(r->version, final);
    enum sent s = send_start(b, &e, &head, true);
    send_count(s);
    if (s != SENT)
        return;
    bool none = r->nparts + nbody == 0;
    send_bytes(b, r->service->name, r->service->name_len, !none);
    for (size_t i = 0; i < r->nparts; i++)
        send_counted(b, r, &r->parts[i], i + 1 < r->nparts + nbody);
    for (size_t i = 0; i < nbody; i++)
        send_counted(b, r, &body[i], i + 1 < nbody);
}

void request_fail(struct broker *b, struct request *r, enum fault fault)
{
    zmq_msg_t frames[2];
    stats_count_rejected(r->service, fault_reason(fault));
    parts_free(r);
    if (!r->parts_refused && answer_pack(&(struct answer){ .fault = fault,
                                                           .request_id = r->context.request_id,
                                                           .service = r->service->name,
                                                           .json = r->json },
                                         b->scratch, &frames[0])) {
        zmq_msg_init(&frames[1]);
        send_answer(b, r, true, frames, 2);
        zmq_msg_close(&frames[0]);
        zmq_msg_close(&frames[1]);
    }
    request_free(b, r);
}

void request_final(struct broker *b, struct request *r, zmq_msg_t *body, size_t nbody)
{
    stat_add(STAT_ANSWERS, 1);
    pace_answers(&r->service->pace, b->now_us - r->begun_us);
    if (!r->parts_refused)
        send_answer(b, r, true, body, nbody);
    request_free(b, r);
}

/* A 0.1 client knows no PARTIAL: its parts are kept for the one REPLY, within a bound. */
static bool keep_parts(struct request *r, zmq_msg_t *body, size_t nbody)
{
    size_t bytes = r->parts_bytes;
    for (size_t i = 0; i < nbody; i++)
        bytes += zmq_msg_size(&body[i]);
    if (bytes > PARTS_MAX_BYTES || r->nparts + nbody > PARTS_MAX)
        return false;
    if (r->nparts + nbody > r->parts_cap) {
        size_t cap = MAX(r->parts_cap * 2, r->nparts + nbody);
        zmq_msg_t *parts = reallocarray(r->parts, cap, sizeof(*parts));
        if (!parts)
            return false;
        r->parts = parts;
        r->parts_cap = cap;
    }
    for (size_t i = 0; i < nbody; i++) {
        zmq_msg_init(&r->parts[r->nparts]);
        zmq_msg_move(&r->parts[r->nparts++], &body[i]);
    }
    r->parts_bytes = bytes;
    return true;
}

static void refuse_parts(struct broker *b, struct request *r)
{
    zmq_msg_t frames[2];
    parts_free(r);
    stats_count_rejected(r->service, fault_reason(FAULT_PARTIALS_TOO_LARGE));
    if (answer_pack(&(struct answer){ .fault = FAULT_PARTIALS_TOO_LARGE,
                                      .request_id = r->context.request_id,
                                      .service = r->service->name,
                                      .json = r->json },
                    b->scratch, &frames[0])) {
        zmq_msg_init(&frames[1]);
        send_answer(b, r, true, frames, 2);
        zmq_msg_close(&frames[0]);
        zmq_msg_close(&frames[1]);
    }
    r->parts_refused = true; /* the worker goes on; the rest is dropped */
}

void request_partial(struct broker *b, struct request *r, zmq_msg_t *body, size_t nbody)
{
    stat_add(STAT_PARTIALS, 1);
    r->partial_sent = true;
    if (r->version == 2)
        send_answer(b, r, false, body, nbody);
    else if (!r->parts_refused && !keep_parts(r, body, nbody))
        refuse_parts(b, r);
}

/* --- waiting and going ---------------------------------------------------------------------- */

/* Slices of receive buffers become messages of their own, since they may wait long. */
static void compact(struct request *r)
{
    for (size_t i = 0; i < 1 + r->nstack + r->nbody; i++) {
        zmq_msg_t *m = &r->frames[i], copy;
        size_t len = zmq_msg_size(m);
        if (len > COMPACT_MAX || zmq_msg_init_size(&copy, len) != 0)
            continue;
        memcpy(zmq_msg_data(&copy), zmq_msg_data(m), len);
        zmq_msg_move(m, &copy);
        zmq_msg_close(&copy);
    }
}

/* One that waits is answered while its client still listens: later it would not be begun anyway. */
static int64_t last_start_us(const struct request *r)
{
    return r->deadline_us - REMAINING_MIN_US;
}

static int64_t waits_until(const struct broker *b, const struct request *r)
{
    bool stranger = service_is_stranger(r->service);
    int64_t until_us = last_start_us(r);
    return stranger ? MIN(until_us, b->now_us + b->config.stranger_wait_us) : until_us;
}

/* From now on its worker answers, or time does. */
static bool hand_over(struct broker *b, struct worker *w, struct request *r)
{
    if (!worker_dispatch(b, w, r))
        return false;
    bool moved = deadlines_set(&b->deadlines, &r->expiry, r->deadline_us + ANSWER_GRACE_US);
    assert(moved); /* it is in the heap already */
    return true;
}

/* By turns; but where one worker was lost, others of its host may be that nobody has missed yet, and those
 * have waited for longest (F32). */
static struct worker *free_worker(const struct broker *b, const struct request *r)
{
    if (b->catching_up_until_us)
        return NULL;
    return r->repeated ? service_freshest_worker(r->service) : service_idle_worker(r->service);
}

/* To a free worker; false: there is none. */
static bool go(struct broker *b, struct request *r)
{
    for (struct worker *w; (w = free_worker(b, r));)
        if (hand_over(b, w, r))
            return true;
    return false;
}

static struct queue_owner owner_of(const struct request *r)
{
    return (struct queue_owner){ .company = r->context.tenant, .client = r->flow };
}

/*
 * Of its time a request may wait for half, and the other half is for doing it. Whoever would wait longer is
 * told so at once: else all would wait until their time is nearly up, and the workers would do
 * nothing but begin what nobody waits for any more (F51). As many as there are workers may wait
 * in any case, or a service that was slow could never show that it is not any more.
 */
static bool would_wait_too_long(const struct request *r, const struct queue_owner *owner)
{
    const struct service *s = r->service;
    size_t before = queue_before(&s->queue, owner);
    before -= MIN(before, (size_t)s->idle); /* who are free take theirs as soon as we go on (F08) */
    return s->workers > 0 && before >= (size_t)s->workers &&
           pace_wait_us(&s->pace, before) > MIN(r->time_us / 2, WAIT_MAX_US);
}

static bool has_room(const struct broker *b, const struct request *r)
{
    return b->queued_bytes + r->bytes <= b->config.total_bytes &&
           r->flow->queued_bytes + r->bytes <= b->config.client_bytes;
}

static void wait_or_refuse(struct broker *b, struct request *r)
{
    const struct queue_owner owner = owner_of(r);
    struct service *s = r->service;
    bool first = s->queue.count == 0;
    if (!has_room(b, r) || would_wait_too_long(r, &owner) ||
        queue_push(&s->queue, &r->item, r->bytes, &owner)) {
        request_fail(b, r, FAULT_QUEUE_FULL);
        return;
    }
    if (first)
        pace_waits(&s->pace, b->now_us);
    waits(b, r);
    compact(r);
}

/* What is left would not do, by what the service usually needs, and it would be begun for nobody. Who has waited for
 * less than half of its time is begun whatever that is: what others ask for may take longer. */
static bool is_too_late(const struct broker *b, const struct request *r)
{
    int64_t usual_us = (int64_t)(2 * r->service->pace.handling_us);
    int64_t needed_us = MAX(REMAINING_MIN_US, MIN(usual_us, r->time_us / 2));
    return r->deadline_us - b->now_us < needed_us;
}

void request_serve(struct broker *b, struct worker *w)
{
    for (struct service *s; !b->catching_up_until_us && (s = worker_next_service(w));) {
        struct queue_item *item = queue_pop(&s->queue);
        struct request *r =
            (struct request *)(void *)((char *)item - offsetof(struct request, item));
        waits_no_more(b, r);
        if (is_too_late(b, r)) {
            request_fail(b, r, FAULT_DEADLINE);
            continue;
        }
        pace_takes(&s->pace, b->now_us);
        if (!hand_over(b, w, r))
            request_orphaned(b, r); /* w is gone */
        return;
    }
    worker_set_idle(w, true);
}

/* Why it is given up. Nobody is told to ask again for what a worker has had: it may have been done.
 */
static enum fault given_up(const struct request *r, enum fault fault)
{
    return r->worker || r->repeated ? FAULT_WORKER_LOST : fault;
}

/* Back to the front of its client's lane, or to another worker at once. */
static void go_again(struct broker *b, struct request *r)
{
    const struct queue_owner owner = owner_of(r);
    if (go(b, r))
        return;
    r->item.bytes = r->bytes;
    if (!deadlines_set(&b->deadlines, &r->expiry, last_start_us(r)) ||
        queue_unpop(&r->service->queue, &r->item, &owner)) {
        request_fail(b, r, given_up(r, FAULT_MEMORY));
        return;
    }
    if (r->service->queue.count == 1)
        pace_waits(&r->service->pace, b->now_us);
    waits(b, r);
}

void request_orphaned(struct broker *b, struct request *r)
{
    bool begun = r->worker != NULL;
    r->worker = NULL;
    if (r->deadline_us - b->now_us < REMAINING_MIN_US) {
        request_fail(b, r, FAULT_DEADLINE);
        return;
    }
    if (begun && (!r->may_repeat || r->repeated || r->partial_sent)) {
        request_fail(b, r, FAULT_WORKER_LOST);
        return;
    }
    if (begun) {
        r->repeated = true;
        stat_add(STAT_REDISPATCHED, 1);
    }
    go_again(b, r);
}

void request_expired(struct broker *b, struct request *r)
{
    bool unserved = !r->worker && r->service->workers == 0;
    if (!r->worker && !unserved && last_start_us(r) > b->now_us) {
        /* waited as a stranger's, and now there are workers */
        bool moved = deadlines_set(&b->deadlines, &r->expiry, last_start_us(r));
        assert(moved);
        return;
    }
    request_fail(b, r, unserved ? given_up(r, FAULT_NO_WORKER) : FAULT_DEADLINE);
}

void request_fail_all(struct broker *b, enum fault fault)
{
    for (struct deadline *d; (d = deadlines_first(&b->deadlines));) {
        struct request *r =
            (struct request *)(void *)((char *)d - offsetof(struct request, expiry));
        request_fail(b, r, given_up(r, fault));
    }
}

/* In any order; one that is passed over, since another took its place, is found in the next turn. */
void request_fail_unserved(struct broker *b)
{
    for (size_t i = 0; i < b->deadlines.count;) {
        struct request *r = (struct request *)(void *)((char *)b->deadlines.heap[i] -
                                                       offsetof(struct request, expiry));
        if (r->worker || r->service->workers > 0)
            i++;
        else
            request_fail(b, r, given_up(r, FAULT_DRAINING));
    }
}

/* --- taking --------------------------------------------------------------------------------- */

static bool frames_fit(struct broker *b)
{
    for (size_t i = 1; i < b->in.n; i++)
        if (zmq_msg_size(&b->in.frames[i]) > b->config.frame_max)
            return false;
    return true;
}

/* The call context of one of ours: read, judged and stamped; false: refused. */
static bool take_context(struct broker *b, const struct identity *who, struct service *s,
                         const struct body *body, struct context *out)
{
    struct wire_fault fault;
    const struct context_stamp stamp = { .who = who,
                                         .service = s->name,
                                         .service_len = s->name_len,
                                         .received_at_us = clock_wall_us(),
                                         .remote_address =
                                             zmq_msg_gets(&b->in.frames[1], "Peer-Address") };
    enum err e = context_take(body->context ? zmq_msg_data(body->context) : NULL,
                              body->context ? zmq_msg_size(body->context) : 0, body->json, &stamp,
                              b->scratch, out, &fault);
    if (e)
        refuse_context(b, e, &fault, s);
    return e == ERR_OK;
}

/* A request of one of ours: method and message are kept, the context becomes bytes of our own. */
static struct request *take_ours(struct broker *b, const struct identity *who, struct service *s)
{
    struct body body;
    struct context context;
    if (!body_read(&b->in, &body)) {
        refuse(b, FAULT_BAD_REQUEST, "", NULL, s);
        return NULL;
    }
    if (!take_context(b, who, s, &body, &context))
        return NULL;
    struct request *r = request_new(&b->in, (zmq_msg_t *[]){ body.method, body.message }, 2);
    if (!r) {
        refuse(b, FAULT_MEMORY, context.request_id, NULL, s);
        context_fini(&context);
        return NULL;
    }
    r->ours = true;
    r->json = body.json;
    r->context = context;
    r->bytes += context.base_len;
    /* Our daemons answer a dispatch id that they have answered before with the first answer, so
     * that the same request may go out a second time whatever its method does (H.1). */
    r->may_repeat = true;
    int64_t ms = context.deadline_ms;
    int64_t us = ms ? MIN(ms * MSEC_US, b->config.deadline_max_us) : b->config.deadline_default_us;
    r->time_us = us;
    return r;
}

/* A request that means nothing to us: its frames go through as they are. */
static struct request *take_foreign(struct broker *b, const struct identity *who, struct service *s)
{
    struct incoming *in = &b->in;
    zmq_msg_t *body[MDP_BODY_MAX];
    for (size_t i = 0; i < in->m.nbody; i++)
        body[i] = incoming_frame(in, in->m.body + i);
    struct body form;
    char request_id[CONTEXT_REQUEST_ID_MAX + 1] = ""; /* should the bus have to answer itself */
    if (body_read(in, &form) && form.context)
        context_request_id(zmq_msg_data(form.context), zmq_msg_size(form.context), form.json,
                           b->scratch, request_id);
    struct request *r = request_new(in, body, in->m.nbody);
    if (!r) {
        refuse(b, FAULT_MEMORY, request_id, NULL, s);
        return NULL;
    }
    r->json = form.json;
    memcpy(r->context.request_id, request_id, sizeof(request_id));
    r->context.tenant = who->tenant;
    r->time_us = b->config.deadline_foreign_us;
    return r;
}

/* The first checks, which need no request; NULL: refused. */
static struct service *admit(struct broker *b, const struct identity *who)
{
    zmq_msg_t *name = incoming_frame(&b->in, b->in.m.service);
    if (who->kind == IDENTITY_NONE) {
        stat_add(STAT_NOT_ADMITTED, 1);
        refuse(b, FAULT_NOT_ADMITTED, "", NULL, NULL);
        return NULL;
    }
    if (!mdp_service_name_ok(zmq_msg_data(name), zmq_msg_size(name))) {
        refuse(b, FAULT_BAD_SERVICE, "", NULL, NULL);
        return NULL;
    }
    if (b->draining) {
        b->refused_at_us = b->now_us;
        refuse(b, FAULT_DRAINING, "", NULL, NULL);
        return NULL;
    }
    struct service *s = registry_service(&b->registry, zmq_msg_data(name), zmq_msg_size(name));
    /* A partner has no reason to wait for what nobody has ever served, nor to fill the table. */
    if (!s && (who->kind != IDENTITY_ACTOR ||
               registry_has_contract(zmq_msg_data(name), zmq_msg_size(name))))
        s = registry_service_make(&b->registry, zmq_msg_data(name), zmq_msg_size(name), false);
    if (!s)
        refuse(b, FAULT_NO_WORKER, "", NULL, NULL);
    return s;
}

static bool is_over_limit(const struct broker *b, const struct flow *f)
{
    return f->inflight > b->config.client_inflight ||
           meter_bytes(f->unread) > b->config.client_unread_bytes ||
           meter_bytes(b->flows.unread) > b->config.unread_bytes;
}

/* Its client's allowance and its place in the heap; false: refused and freed. */
static bool enter(struct broker *b, const struct identity *who, struct request *r)
{
    r->flow = flows_get(&b->flows, who, b->user, &r->frames[0], r->context.tenant);
    if (!r->flow) {
        request_fail(b, r, FAULT_MEMORY);
        return false;
    }
    r->flow->inflight++;
    b->nrequests++;
    if (is_over_limit(b, r->flow)) {
        request_fail(b, r, FAULT_CLIENT_LIMIT);
        return false;
    }
    if (!deadlines_set(&b->deadlines, &r->expiry, waits_until(b, r))) {
        request_fail(b, r, FAULT_MEMORY);
        return false;
    }
    return true;
}

static bool is_name(zmq_msg_t *frame, const char *name)
{
    return zmq_msg_size(frame) == strlen(name) &&
           memcmp(zmq_msg_data(frame), name, strlen(name)) == 0;
}

void request_take(struct broker *b, const struct identity *who)
{
    zmq_msg_t *name = incoming_frame(&b->in, b->in.m.service);
    stat_add(STAT_REQUESTS, 1);
    if (who->kind != IDENTITY_NONE) {
        if (!frames_fit(b)) {
            refuse(b, FAULT_TOO_LARGE, "", NULL, NULL);
            return;
        }
        if (mdp_is_management(zmq_msg_data(name), zmq_msg_size(name))) {
            manage(b);
            return;
        }
        if (is_name(name, BUS_SERVICE_NAME)) {
            bus_service(b, who);
            return;
        }
    }
    struct service *s = admit(b, who);
    if (!s)
        return;
    s->requests++;
    /* By name and not by contract: a daemon newer than this bus believes the principal of every
     * service of its own, so none may pass unstamped (F54, F61). */
    struct request *r = s->ours ? take_ours(b, who, s) : take_foreign(b, who, s);
    if (!r) {
        registry_service_release(&b->registry, s);
        return;
    }
    r->service = s;
    r->deadline_us = b->now_us + r->time_us;
    s->held++;
    if (!enter(b, who, r))
        return;
    if (r->deadline_us - b->now_us < REMAINING_MIN_US)
        request_fail(b, r, FAULT_DEADLINE);
    else if (!go(b, r))
        wait_or_refuse(b, r);
}
