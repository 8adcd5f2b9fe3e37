/*
 * webhook_fanout.c - the consumer of the gateway: each event becomes a delivery for each endpoint of
 * its company that wants it, in the transaction that moves the cursor. So an event is due to an
 * endpoint exactly once, whatever crashed.
 */
#include "common/clock.h"
#include "common/columns.h"
#include "common/db_array.h"
#include "common/metrics.h"
#include "common/schema.h"
#include "common/wire.h"
#include "services/gateway/sql.h"
#include "services/gateway/webhooks/webhook.h"
#include "services/gateway/webhooks/webhook_body.h"

#define BODY_MAX (1 * MIB)

struct target {
    struct id id;
    const char *const *types;
    size_t ntypes;
    int64_t since_seq, created_us;
    uint32_t lanes;   /* that got something in this batch... */
    int64_t from_seq; /* ...from there on: less than before when a parked event comes again */
};

struct message {
    const PbEvent *event;
    const char *body;
    struct message *next;
};

struct posting {
    struct target *target;
    const PbEvent *event;
    uint64_t key;
    struct posting *next;
};

/* A run of one company's events. */
struct fanout {
    struct target *targets;
    size_t ntargets;
    struct message *messages;
    struct posting *postings;
};

/* --- endpoints ---------------------------------------------------------------------------------- */

static enum err read_target(struct reaction *r, struct db_row *row, struct target *out)
{
    const ProtobufCMessage *m;

    *out = (struct target){ .id = db_row_id(row, "id"),
                            .since_seq = db_row_i64(row, "_since_seq"),
                            .created_us = db_row_time(row, "created_at") };
    enum err e =
        record_read(row->res, row->row, &daybook__gateway__v1__endpoint__descriptor, r->arena, &m);
    if (e)
        return e;
    out->ntypes = ((const PbEndpoint *)m)->n_types;
    out->types = (const char *const *)((const PbEndpoint *)m)->types;
    return row->bad ? ERR_INTERNAL : ERR_OK;
}

static enum err batch_begin(struct reaction *r)
{
    const char *const params[] = { db_text_id(r->arena, r->tenant) };
    struct fanout *f = arena_alloc(r->arena, sizeof(*f));
    CLEANUP(db_result_clear) PGresult *res = NULL;

    if (!f || !params[0])
        return ERR_RESOURCE_EXHAUSTED;
    *f = (struct fanout){ 0 };
    r->batch = f;
    enum err e = db_exec(r->db, &sql_fanout_endpoints, params, &res);
    if (e)
        return e;
    f->ntargets = (size_t)PQntuples(res);
    f->targets = arena_array(r->arena, f->ntargets + 1, sizeof(*f->targets));
    if (!f->targets)
        return ERR_RESOURCE_EXHAUSTED;
    for (struct db_row row = { .res = res }; !e && row.row < (int)f->ntargets; row.row++)
        e = read_target(r, &row, &f->targets[row.row]);
    return e;
}

/*
 * Who wants everything does not mean who read what: a partner who reads a list for each event that he
 * gets would be sent an event for each list, without end. So it must be named.
 */
static const char access_type[] = "daybook.directory.v1.AccessRecorded";

static bool wants(const struct target *t, const char *type)
{
    for (size_t i = 0; i < t->ntypes; i++) {
        size_t len = strlen(t->types[i]);
        if (len && t->types[i][len - 1] == '.' ? strncmp(t->types[i], type, len) == 0
                                               : strcmp(t->types[i], type) == 0)
            return true;
    }
    return t->ntypes == 0 && strcmp(type, access_type) != 0;
}

/* --- an event ----------------------------------------------------------------------------------- */

static enum err add_posting(struct reaction *r, struct target *t, const PbEvent *event)
{
    struct fanout *f = r->batch;
    struct posting *p = arena_alloc(r->arena, sizeof(*p));

    if (!p)
        return ERR_RESOURCE_EXHAUSTED;
    *p = (struct posting){
        .target = t, .event = event, .key = webhook_key(event->aggregate), .next = f->postings
    };
    f->postings = p;
    t->lanes |= 1U << webhook_lane(t->id, p->key);
    t->from_seq = t->from_seq ? MIN(t->from_seq, event->seq) : event->seq;
    return ERR_OK;
}

static enum err add_message(struct reaction *r, const PbEvent *event, const ProtobufCMessage *data)
{
    const char *public_url = webhook_config_of(r->daemon_data)->public_url;
    struct fanout *f = r->batch;
    struct message *m = arena_alloc(r->arena, sizeof(*m));
    struct sbuf b;

    if (!m)
        return ERR_RESOURCE_EXHAUSTED;
    sbuf_init(&b, BODY_MAX);
    enum err e = webhook_body(public_url, event, data, &b);
    *m = (struct message){ .event = event,
                           .body = e ? NULL : arena_strndup(r->arena, b.data, b.len),
                           .next = f->messages };
    sbuf_fini(&b);
    if (e || !m->body)
        return e ? e : ERR_RESOURCE_EXHAUSTED;
    f->messages = m;
    return ERR_OK;
}

/* Events from before an endpoint was made are not for it: a consumer may lag, and a parked one comes again. What waited for
 * its place in the log then is for it. */
static bool is_from_before(const struct target *t, const PbEvent *event)
{
    return t->since_seq ? event->seq <= t->since_seq
                        : wire_time_us(event->occurred_at) < t->created_us;
}

static enum err on_event(struct reaction *r, const PbEvent *event, const ProtobufCMessage *data)
{
    struct fanout *f = r->batch;
    bool wanted = false;
    enum err e = ERR_OK;

    for (size_t i = 0; i < f->ntargets && !e; i++) {
        struct target *t = &f->targets[i];
        if (is_from_before(t, event) || !wants(t, event->type))
            continue;
        wanted = true;
        e = add_posting(r, t, event);
    }
    return e || !wanted ? e : add_message(r, event, data);
}

static enum err on_pinged(struct reaction *r, const PbEvent *event, const ProtobufCMessage *data)
{
    struct fanout *f = r->batch;
    struct id id;

    if (!id_parse(((const Daybook__Gateway__V1__EndpointPinged *)data)->endpoint_id, &id))
        return ERR_INTERNAL;
    for (size_t i = 0; i < f->ntargets; i++) {
        if (!id_equal(f->targets[i].id, id))
            continue;
        enum err e = add_posting(r, &f->targets[i], event);
        return e ? e : add_message(r, event, data);
    }
    return ERR_OK; /* removed in the meantime */
}

/* --- the end of a run --------------------------------------------------------------------------- */

static void put_id(struct columns *k, const char *text)
{
    struct id id = { { 0 } };

    if (!id_parse(text, &id))
        id = (struct id){ { 0 } }; /* NULL to the table, which refuses it */
    columns_id(k, id);
}

static enum err write_messages(struct reaction *r, const struct fanout *f)
{
    CLEANUP(columns_fini) struct columns k = { 0 };
    struct db_param params[6] = { { .value = db_text_id(r->arena, r->tenant) } };

    if (!params[0].value)
        return ERR_RESOURCE_EXHAUSTED;
    columns_init_binary(&k, 5);
    for (const struct message *m = f->messages; m; m = m->next) {
        put_id(&k, m->event->event_id);
        columns_text(&k, m->event->type);
        columns_text(&k, m->event->aggregate);
        columns_time(&k, wire_time_us(m->event->occurred_at));
        columns_text(&k, m->body);
    }
    enum err e = columns_binary_params(&k, params + 1);
    return e ? e : db_queue_params(r->db, &sql_fanout_messages, params, NULL, NULL);
}

static enum err write_postings(struct reaction *r, const struct fanout *f)
{
    CLEANUP(columns_fini) struct columns k = { 0 };
    struct db_param params[6] = { { .value = db_text_id(r->arena, r->tenant) } };

    if (!params[0].value)
        return ERR_RESOURCE_EXHAUSTED;
    columns_init_binary(&k, 5);
    for (const struct posting *p = f->postings; p; p = p->next) {
        columns_id(&k, p->target->id);
        put_id(&k, p->event->event_id);
        columns_i64(&k, p->event->seq);
        columns_i64(&k, webhook_lane(p->target->id, p->key));
        columns_i64(&k, (int64_t)p->key);
    }
    enum err e = columns_binary_params(&k, params + 1);
    return e ? e : db_queue_params(r->db, &sql_fanout_deliveries, params, NULL, NULL);
}

struct told {
    size_t n;
    struct webhook_hint hints[];
};

/* The sender beside us, at once; those of other replicas hear it over the bus. */
static void tell(void *daemon_data, void *arg)
{
    const struct told *t = arg;
    webhook_tell(daemon_data, t->hints, t->n);
}

static enum err tell_all(struct reaction *r, const struct fanout *f)
{
    struct told *t = arena_alloc(r->arena, sizeof(*t) + f->ntargets * sizeof(t->hints[0]));

    if (!t)
        return ERR_RESOURCE_EXHAUSTED;
    t->n = 0;
    for (size_t i = 0; i < f->ntargets; i++)
        if (f->targets[i].lanes)
            t->hints[t->n++] = (struct webhook_hint){ .tenant = r->tenant,
                                                      .endpoint = f->targets[i].id,
                                                      .lanes = f->targets[i].lanes,
                                                      .from_seq = f->targets[i].from_seq };
    reaction_after_commit(r, tell, t);
    reaction_wake(r, WAKE_WEBHOOKS, t->hints, t->n * sizeof(t->hints[0]));
    return ERR_OK;
}

static enum err batch_end(struct reaction *r)
{
    const struct fanout *f = r->batch;

    if (!f || !f->postings)
        return ERR_OK;
    enum err e = write_messages(r, f);
    if (!e)
        e = write_postings(r, f);
    return e ? e : tell_all(r, f);
}

/* --- the definition ----------------------------------------------------------------------------- */

const struct consumer_def *webhook_consumer(void)
{
    static const char pinged[] = "daybook.gateway.v1.EndpointPinged";
    static struct consumer_def def = {
        .name = "gateway",
        .schema = "gateway",
        .batch_begin = batch_begin,
        .batch_end = batch_end,
    };
    size_t n, count = 0;
    const struct schema_message *all = schema_all_messages(&n);
    struct reaction_def *reactions = calloc(n, sizeof(*reactions)); /* for as long as the process */

    if (!reactions)
        return NULL;
    for (size_t i = 0; i < n; i++)
        if (schema_is_event(&all[i]))
            reactions[count++] = (struct reaction_def){
                .type = all[i].type->name,
                .fn = strcmp(all[i].type->name, pinged) == 0 ? on_pinged : on_event,
                .flags = REACTION_LIVE,
            };
    def.reactions = reactions;
    def.nreactions = count;
    return &def;
}
