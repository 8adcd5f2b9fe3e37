/* registry.c - see registry.h. */
#include "services/bus/registry.h"

#include <assert.h>

#define OUR_NAMES "daybook."

bool registry_init(struct registry *r, size_t queue_count, size_t queue_bytes)
{
    *r = (struct registry){ .queue_count = queue_count, .queue_bytes = queue_bytes };
    return hmap_init(&r->services) && hmap_init(&r->workers);
}

static void service_free(struct registry *r, struct service *s)
{
    if (service_is_stranger(s))
        r->asked--;
    hmap_remove(&r->services, &s->node);
    queue_fini(&s->queue);
    free(s);
}

void registry_fini(struct registry *r)
{
    for (struct hnode *n; r->workers.count > 0 && (n = hmap_next(&r->workers, NULL));)
        registry_worker_free(r, HMAP_OWNER(n, struct worker, node));
    for (struct hnode *n; r->services.count > 0 && (n = hmap_next(&r->services, NULL));)
        service_free(r, HMAP_OWNER(n, struct service, node));
    hmap_fini(&r->services);
    hmap_fini(&r->workers);
}

/* --- services ------------------------------------------------------------------------------- */

bool service_is_stranger(const struct service *s)
{
    return !s->schema && !s->seen;
}

struct service *registry_service(struct registry *r, const void *name, size_t len)
{
    struct hnode *n = hmap_find(&r->services, name, len);
    return n ? HMAP_OWNER(n, struct service, node) : NULL;
}

static bool service_is_unused(const struct service *s)
{
    return s->workers == 0 && s->held == 0;
}

bool registry_has_contract(const void *name, size_t len)
{
    char text[MDP_SERVICE_NAME_MAX + 1];
    if (len >= sizeof(text))
        return false;
    memcpy(text, name, len);
    text[len] = 0;
    return schema_find_service(text) != NULL;
}

/* A full table makes room by forgetting a foreign service that nobody serves any more. */
static bool make_room(struct registry *r)
{
    if (r->services.count < REGISTRY_SERVICES_MAX)
        return true;
    for (struct hnode *n = NULL; (n = hmap_next(&r->services, n));) {
        struct service *s = HMAP_OWNER(n, struct service, node);
        if (!s->schema && service_is_unused(s)) {
            service_free(r, s);
            return true;
        }
    }
    return false;
}

struct service *registry_service_make(struct registry *r, const void *name, size_t len, bool served)
{
    struct service *s = registry_service(r, name, len);
    if (s || !make_room(r))
        return s;
    s = calloc(1, sizeof(*s) + len + 1);
    if (!s || !queue_init(&s->queue, r->queue_count, r->queue_bytes)) {
        free(s);
        return NULL;
    }
    memcpy(s->name, name, len);
    s->name_len = len;
    s->schema = schema_find_service(s->name);
    s->ours = strncmp(s->name, OUR_NAMES, strlen(OUR_NAMES)) == 0;
    if (service_is_stranger(s) && !served && r->asked >= REGISTRY_ASKED_MAX) {
        queue_fini(&s->queue);
        free(s);
        return NULL;
    }
    if (service_is_stranger(s))
        r->asked++;
    hmap_insert(&r->services, &s->node, s->name, len);
    return s;
}

void registry_service_release(struct registry *r, struct service *s)
{
    if (service_is_stranger(s) && service_is_unused(s))
        service_free(r, s);
}

/* --- workers -------------------------------------------------------------------------------- */

struct worker *registry_worker(struct registry *r, const void *id, size_t len)
{
    struct hnode *n = hmap_find(&r->workers, id, len);
    return n ? HMAP_OWNER(n, struct worker, node) : NULL;
}

/* A name twice in one READY counts once. */
static bool has_slot(const struct worker *w, const struct service *s)
{
    for (size_t i = 0; i < w->nslots; i++)
        if (w->slots[i].service == s)
            return true;
    return false;
}

static bool join_services(struct registry *r, struct worker *w, const struct mdp_frame *services,
                          size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct service *s = registry_service_make(r, services[i].data, services[i].len, true);
        if (!s)
            return false;
        if (has_slot(w, s))
            continue;
        w->slots[w->nslots++] = (struct slot){ .service = s, .worker = w };
        if (service_is_stranger(s))
            r->asked--;
        s->seen = true;
        s->workers++;
    }
    return true;
}

struct worker *registry_worker_make(struct registry *r, zmq_msg_t *frames, size_t nstack,
                                    const struct mdp_frame *services, size_t nservices)
{
    assert(nstack <= MDP_STACK_MAX);
    struct worker *w = calloc(1, sizeof(*w));
    struct slot *slots = calloc(nservices, sizeof(*slots));
    if (!w || !slots) {
        free(w);
        free(slots);
        return NULL;
    }
    w->slots = slots;
    w->nstack = nstack;
    zmq_msg_init(&w->id);
    zmq_msg_copy(&w->id, &frames[0]);
    for (size_t i = 0; i < nstack; i++) {
        zmq_msg_init(&w->stack[i]);
        zmq_msg_copy(&w->stack[i], &frames[1 + i]);
    }
    hmap_insert(&r->workers, &w->node, zmq_msg_data(&w->id), zmq_msg_size(&w->id));
    if (join_services(r, w, services, nservices))
        return w;
    registry_worker_free(r, w);
    return NULL;
}

void registry_worker_retire(struct registry *r, struct worker *w)
{
    worker_set_idle(w, false);
    for (size_t i = 0; i < w->nslots; i++) {
        w->slots[i].service->workers--;
        registry_service_release(r, w->slots[i].service);
    }
    w->nslots = 0;
}

void registry_worker_free(struct registry *r, struct worker *w)
{
    registry_worker_retire(r, w);
    hmap_remove(&r->workers, &w->node);
    zmq_msg_close(&w->id);
    for (size_t i = 0; i < w->nstack; i++)
        zmq_msg_close(&w->stack[i]);
    free(w->slots);
    free(w);
}

static void slot_join_idle(struct slot *slot)
{
    struct service *s = slot->service;
    slot->prev = s->idle_last;
    slot->next = NULL;
    if (s->idle_last)
        s->idle_last->next = slot;
    else
        s->idle_first = slot;
    s->idle_last = slot;
    s->idle++;
    slot->idle = true;
}

static void slot_leave_idle(struct slot *slot)
{
    struct service *s = slot->service;
    if (slot->prev)
        slot->prev->next = slot->next;
    else
        s->idle_first = slot->next;
    if (slot->next)
        slot->next->prev = slot->prev;
    else
        s->idle_last = slot->prev;
    s->idle--;
    slot->idle = false;
}

void worker_set_idle(struct worker *w, bool idle)
{
    for (size_t i = 0; i < w->nslots; i++) {
        if (w->slots[i].idle == idle)
            continue;
        if (idle)
            slot_join_idle(&w->slots[i]);
        else
            slot_leave_idle(&w->slots[i]);
    }
}

struct worker *service_idle_worker(const struct service *s)
{
    return s->idle_first ? s->idle_first->worker : NULL;
}

struct worker *service_freshest_worker(const struct service *s)
{
    struct worker *freshest = NULL;

    for (struct slot *slot = s->idle_first; slot; slot = slot->next)
        if (!freshest || slot->worker->heard_at_us >= freshest->heard_at_us)
            freshest = slot->worker;
    return freshest;
}

struct service *worker_next_service(struct worker *w)
{
    for (size_t i = 0; i < w->nslots; i++) {
        struct service *s = w->slots[(w->turn + i) % w->nslots].service;
        if (s->queue.count > 0) {
            w->turn = (w->turn + i + 1) % w->nslots;
            return s;
        }
    }
    return NULL;
}
