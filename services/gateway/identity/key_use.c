/*
 * key_use.c - see key_use.h. One batch is under way at a time, of one company.
 */
#include "services/gateway/identity/key_use.h"

#include <netinet/in.h>
#include <pthread.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/secret.h"
#include "common/trace.h"
#include "daybook/directory/v1/directory.pb-c.h"

#define SLOTS 8192 /* a power of two */
#define PROBES 16
#define BATCH_MAX 250           /* keys */
#define USES_MAX 500            /* of them, in one request */
#define REFUSALS_MAX 6          /* of a key, at a time; more than there are reasons */
#define TELL_EVERY_US MINUTE_US /* of one key */
#define LOOK_US SECOND_US
#define AGAIN_US (5 * SECOND_US) /* after a failure */
#define TIMEOUT_US (5 * SECOND_US)
#define BATCH_ARENA (256 * KIB)
#define SCOPE_EDGE "edge" /* what nobody can be given (directory, credential_rules.h) */

typedef Daybook__Directory__V1__KeyUse PbKeyUse;

/* Of one reason and address; when there are more of them than fit, the address of the last one. */
struct refusals {
    const char *reason; /* NULL: free */
    char address[INET6_ADDRSTRLEN];
    int64_t last_us;
    int32_t n, telling; /* to be told; being told */
};

struct slot {
    struct id credential, tenant;
    int64_t used_us;
    int64_t told_us; /* monotonic: the last time that it was sent; 0: never */
    bool waits;      /* used or refused since */
    char new_hash[TOKEN_HASH_TEXT];
    struct refusals refusals[REFUSALS_MAX];
};

struct key_use {
    pthread_mutex_t lock;
    struct slot slots[SLOTS];
    size_t waiting;
    /* the sender's */
    int64_t next_us;
    bool under_way;
    bool failing;
    size_t n;
    struct slot *batch[BATCH_MAX];
    struct arena *arena; /* of the batch */
    PbPrincipal principal;
    char tenant[ID_TEXT_MAX];
    char *scopes[1];
};

struct key_use *key_use_new(void)
{
    struct key_use *u = calloc(1, sizeof(*u));

    if (!u)
        return NULL;
    pthread_mutex_init(&u->lock, NULL);
    u->arena = arena_new(BATCH_ARENA);
    if (u->arena)
        return u;
    key_use_free(u);
    return NULL;
}

void key_use_free(struct key_use *u)
{
    if (!u)
        return;
    arena_free(u->arena);
    pthread_mutex_destroy(&u->lock);
    free(u);
}

/* --- noting ------------------------------------------------------------------------------------- */

/* The key's, or one that holds nothing to be told; NULL: all around are waiting. */
static struct slot *slot_of(struct key_use *u, struct id credential)
{
    size_t first = id_hash(credential) & (SLOTS - 1);
    struct slot *spare = NULL;

    for (size_t i = 0; i < PROBES; i++) {
        struct slot *s = &u->slots[(first + i) & (SLOTS - 1)];
        if (id_equal(s->credential, credential))
            return s;
        if (!s->waits && (!spare || s->told_us < spare->told_us))
            spare = s;
    }
    if (spare)
        *spare = (struct slot){ .credential = credential };
    return spare;
}

void key_use_note(struct key_use *u, struct id tenant, struct id credential, int64_t used_us,
                  const char *new_hash)
{
    pthread_mutex_lock(&u->lock);
    struct slot *s = slot_of(u, credential);
    if (s) {
        u->waiting += !s->waits;
        s->tenant = tenant;
        s->used_us = used_us;
        snprintf(s->new_hash, sizeof(s->new_hash), "%s", new_hash);
        s->waits = true;
    }
    pthread_mutex_unlock(&u->lock);
}

/* There are fewer reasons than entries: two have one reason, and one of them is freed. */
static struct refusals *merge_refusals(struct slot *s)
{
    for (struct refusals *a = s->refusals; a < s->refusals + REFUSALS_MAX; a++)
        for (struct refusals *b = s->refusals; b < a; b++)
            if (strcmp(a->reason, b->reason) == 0) {
                a->n += b->n;
                a->telling += b->telling;
                *b = (struct refusals){ .n = 0 };
                return b;
            }
    return &s->refusals[0];
}

static struct refusals *refusals_of(struct slot *s, const char *reason, const char *address)
{
    struct refusals *spare = NULL, *alike = NULL;

    for (struct refusals *r = s->refusals; r < s->refusals + REFUSALS_MAX; r++) {
        bool is_open = r->n || r->telling;
        if (!is_open && !spare)
            spare = r;
        if (!is_open || strcmp(r->reason, reason) != 0)
            continue;
        if (strcmp(r->address, address) == 0)
            return r;
        alike = r;
    }
    return spare ? spare : alike ? alike : merge_refusals(s);
}

static bool was_refused(const struct slot *s)
{
    for (size_t i = 0; i < REFUSALS_MAX; i++)
        if (s->refusals[i].n)
            return true;
    return false;
}

void key_use_refused(struct key_use *u, struct id tenant, struct id credential, int64_t at_us,
                     const char *reason, const char *address)
{
    pthread_mutex_lock(&u->lock);
    struct slot *s = slot_of(u, credential);
    if (s) {
        u->waiting += !s->waits;
        s->tenant = tenant;
        struct refusals *r = refusals_of(s, reason, address);
        r->n += r->n < INT32_MAX;
        r->last_us = at_us;
        r->reason = reason;
        snprintf(r->address, sizeof(r->address), "%s", address);
        s->waits = true;
    }
    pthread_mutex_unlock(&u->lock);
}

/* --- telling ------------------------------------------------------------------------------------ */

/* Under the lock. Takes those of the first company that has one. */
static void collect(struct key_use *u, int64_t now_us, bool all)
{
    size_t uses = 0;

    u->n = 0;
    for (size_t i = 0;
         u->waiting && i < SLOTS && u->n < BATCH_MAX && uses <= USES_MAX - 1 - REFUSALS_MAX; i++) {
        struct slot *s = &u->slots[i];
        bool due = all || was_refused(s) || !s->told_us || now_us >= s->told_us + TELL_EVERY_US;
        if (!s->waits || !due || (u->n && !id_equal(s->tenant, u->batch[0]->tenant)))
            continue;
        u->batch[u->n++] = s;
        uses += 1 + (was_refused(s) ? REFUSALS_MAX : 0);
    }
    if (u->n)
        (void)id_text(u->batch[0]->tenant, u->tenant);
}

/* NULL: no memory. */
static PbKeyUse *add_use(struct arena *a, Daybook__Directory__V1__NoteUseRequest *request,
                         const struct slot *s, int64_t at_us)
{
    PbKeyUse *use = wire_new(&daybook__directory__v1__key_use__descriptor, a);
    char *id = arena_alloc(a, ID_TEXT_MAX);

    if (!use || !id)
        return NULL;
    use->credential_id = id_text(s->credential, id);
    use->used_at = wire_time(a, at_us);
    request->uses[request->n_uses++] = use;
    return use->used_at ? use : NULL;
}

static bool tell_refusals(struct arena *a, const struct refusals *r, PbKeyUse *use)
{
    use->refused = arena_strdup(a, r->reason);
    use->remote_address = arena_strdup(a, r->address);
    use->times = r->n;
    return use->refused && use->remote_address;
}

/* Under the lock. NULL: no memory. */
static Daybook__Directory__V1__NoteUseRequest *make_request(struct key_use *u)
{
    struct arena *a = u->arena;
    Daybook__Directory__V1__NoteUseRequest *request =
        wire_new(&daybook__directory__v1__note_use_request__descriptor, a);

    if (!request)
        return NULL;
    request->uses = arena_array(a, USES_MAX, sizeof(void *));
    for (size_t i = 0; request->uses && i < u->n; i++) {
        struct slot *s = u->batch[i];
        PbKeyUse *used = s->used_us ? add_use(a, request, s, s->used_us) : NULL;
        if (s->used_us && !(used && (used->secret_hash = arena_strdup(a, s->new_hash))))
            return NULL;
        for (const struct refusals *r = s->refusals; r < s->refusals + REFUSALS_MAX; r++) {
            PbKeyUse *use = r->n ? add_use(a, request, s, r->last_us) : NULL;
            if (r->n && !(use && tell_refusals(a, r, use)))
                return NULL;
        }
    }
    return request->uses ? request : NULL;
}

static void forget_told(struct key_use *u)
{
    pthread_mutex_lock(&u->lock);
    for (size_t i = 0; i < u->n; i++)
        for (size_t k = 0; k < REFUSALS_MAX; k++)
            u->batch[i]->refusals[k].telling = 0;
    pthread_mutex_unlock(&u->lock);
}

/* What could not be told waits again. */
static void put_back(struct key_use *u)
{
    pthread_mutex_lock(&u->lock);
    for (size_t i = 0; i < u->n; i++) {
        u->waiting += !u->batch[i]->waits;
        u->batch[i]->waits = true;
        u->batch[i]->told_us = 0;
        for (size_t k = 0; k < REFUSALS_MAX; k++) {
            u->batch[i]->refusals[k].n += u->batch[i]->refusals[k].telling;
            u->batch[i]->refusals[k].telling = 0;
        }
    }
    pthread_mutex_unlock(&u->lock);
    u->next_us = clock_monotonic_us() + AGAIN_US;
}

static void on_told(void *arg, const struct upstream_answer *answer)
{
    struct key_use *u = arg;
    enum err e = answer->code;

    if (!e && answer->result->status)
        e = (enum err)answer->result->status->code;
    u->under_way = false;
    if (e)
        put_back(u);
    else
        forget_told(u);
    if (e && !u->failing)
        log_warn("gateway.key_use", "the directory does not take down the use of keys; told again",
                 "code", err_name(e), NULL);
    u->failing = e != ERR_OK;
}

/* As the company's service account with the one scope that says who we are. */
static const PbPrincipal *speaker(struct key_use *u)
{
    static char edge[] = SCOPE_EDGE;
    PbPrincipal *p = &u->principal;

    daybook__common__v1__principal__init(p);
    p->tenant_id = u->tenant;
    p->kind = DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_SERVICE;
    u->scopes[0] = edge;
    p->scopes = u->scopes;
    p->n_scopes = 1;
    return p;
}

static bool send_batch(struct key_use *u, struct upstream *upstream,
                       const Daybook__Directory__V1__NoteUseRequest *request)
{
    uint8_t *data;
    size_t len;

    return request && wire_pack(&request->base, u->arena, &data, &len) == ERR_OK &&
           upstream_ask(
               upstream,
               &(struct upstream_request){ .service = "daybook.directory.v1.CredentialService",
                                           .method = "NoteUse",
                                           .message = data,
                                           .len = len,
                                           .principal = speaker(u),
                                           .request_id = id_new(),
                                           .traceparent = trace_of_chores(),
                                           .deadline_us = clock_monotonic_us() + TIMEOUT_US },
               on_told, u) != NULL;
}

void key_use_send(struct key_use *u, struct upstream *upstream, int64_t monotonic_us, bool all)
{
    const Daybook__Directory__V1__NoteUseRequest *request = NULL;

    if (u->under_way || (monotonic_us < u->next_us && !all))
        return;
    arena_reset(u->arena);
    pthread_mutex_lock(&u->lock);
    collect(u, monotonic_us, all);
    if (u->n)
        request = make_request(u);
    for (size_t i = 0; i < u->n; i++) {
        u->batch[i]->waits = false;
        u->batch[i]->told_us = monotonic_us;
        for (size_t k = 0; k < REFUSALS_MAX; k++) {
            u->batch[i]->refusals[k].telling = u->batch[i]->refusals[k].n;
            u->batch[i]->refusals[k].n = 0;
        }
    }
    u->waiting -= u->n;
    pthread_mutex_unlock(&u->lock);
    u->next_us = monotonic_us + (u->n ? 0 : LOOK_US);
    u->under_way = u->n && send_batch(u, upstream, request);
    if (u->n && !u->under_way)
        put_back(u);
}

bool key_use_is_busy(struct key_use *u)
{
    pthread_mutex_lock(&u->lock);
    bool busy = u->under_way || u->waiting > 0;
    pthread_mutex_unlock(&u->lock);
    return busy;
}
