/*
 * consumer_react.c - one event through its reaction, and what reactions may ask for.
 */
#include "common/consumer_internal.h"

#include <assert.h>

#include "common/clock.h"
#include "common/mdp.h"
#include "common/schema.h"
#include "common/wire.h"

/* --- what reactions ask for --- */

enum err reaction_emit(struct reaction *r, const char *collection, const char *id, int64_t version,
                       const ProtobufCMessage *event)
{
    struct reaction_state *s = r->state;

    if (r->replaying)
        return ERR_OK;
    struct reaction_row *item = arena_alloc(r->arena, sizeof *item);
    /* A copy: the span is the next event's before the row is queued. */
    const char *trace =
        s->event ? arena_strdup(r->arena, span_traceparent(&s->span, s->event->traceparent)) : "";
    if (item == NULL || event == NULL || trace == NULL)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = outbox_pack(
        &(struct outbox_event){
            .tenant = r->tenant,
            .collection = collection,
            .aggregate_id = id,
            .version = version,
            .occurred_at_us = r->now_us,
            .request_id = "",
            .traceparent = trace,
            .message = event,
        },
        r->arena, &item->row);
    if (e)
        return e;
    *s->rows_end = item;
    s->rows_end = &item->next;
    s->nrows++;
    return ERR_OK;
}

void reaction_wake(struct reaction *r, const char *channel, const void *data, size_t len)
{
    struct reaction_state *s = r->state;

    if (r->replaying)
        return;
    struct reaction_wake_item *w = arena_alloc(r->arena, sizeof *w);
    const char *name = arena_strdup(r->arena, channel);
    void *mine = len ? arena_memdup(r->arena, data, len) : NULL;
    /* A wake only saves the sleeper's next poll; without memory it is left out. */
    if (w == NULL || name == NULL || (len && mine == NULL))
        return;
    *w = (struct reaction_wake_item){ .channel = name, .data = mine, .len = len };
    *s->wakes_end = w;
    s->wakes_end = &w->next;
}

void reaction_after_commit(struct reaction *r, void (*fn)(void *daemon_data, void *arg), void *arg)
{
    struct reaction_state *s = r->state;

    for (size_t i = 0; i < s->nhooks; i++)
        if (s->hooks[i].fn == fn && s->hooks[i].arg == arg)
            return;
    assert(s->nhooks < CONSUMER_HOOKS_MAX);
    s->hooks[s->nhooks++] = (struct reaction_hook){ .fn = fn, .arg = arg };
}

/* --- running --- */

void consumer_react_open(struct consumer *c, struct reaction *r, struct reaction_state *state,
                         bool replaying)
{
    arena_reset(c->work);
    *state = (struct reaction_state){ 0 };
    state->rows_end = &state->rows;
    state->wakes_end = &state->wakes;
    *r = (struct reaction){
        .db = c->db,
        .arena = c->work,
        .dir = directory_acquire(),
        .now_us = clock_now_us(),
        .replaying = replaying,
        .daemon_data = c->env.daemon_data,
        .state = state,
    };
}

void consumer_react_close(struct reaction *r)
{
    directory_release(r->dir);
    r->dir = NULL;
}

const struct reaction_def *consumer_find_def(const struct consumer *c, const char *type)
{
    for (size_t i = 0; i < c->def->nreactions; i++)
        if (strcmp(c->def->reactions[i].type, type) == 0 ||
            strcmp(c->def->reactions[i].type, REACTION_EVERY_TYPE) == 0)
            return &c->def->reactions[i];
    return NULL;
}

bool consumer_wants(const struct reaction_def *def, bool replaying)
{
    return def && (def->flags & (replaying ? REACTION_REPLAY : REACTION_LIVE));
}

/* A trace of its own, linked to the event's: those of a busy customer would never end. An attempt
 * is told whether or not its transaction was committed. One that only looks at the envelope is not
 * worth a span. */
static void begin_span(struct reaction *r, const struct consumer_item *item)
{
    const PbEvent *event = item->event;
    struct span *span = &r->state->span;

    span->state = SPAN_OFF;
    if (!r->replaying && !(item->def->flags & REACTION_ENVELOPE))
        span_begin_linked(span, SPAN_CONSUMER, "reaction", event->traceparent);
    span_text(span, "messaging.message.id", event->event_id);
    span_text(span, "daybook.event.type", event->type);
}

static enum err unpack_data(struct reaction *r, const PbEvent *event, ProtobufCMessage **data_out)
{
    const struct schema_message *type = schema_find_message(event->type);
    struct wire_fault fault;

    if (type == NULL || event->data == NULL)
        return ERR_UNIMPLEMENTED; /* subscribed to, but not known: of a newer program */
    return wire_unpack(type->type, event->data->value.data, event->data->value.len,
                       &wire_limits_internal, r->arena, data_out, &fault);
}

static enum err react(struct reaction *r, const struct consumer_item *item)
{
    const PbEvent *event = item->event;
    ProtobufCMessage *data = NULL;

    enum err e = item->def->flags & REACTION_ENVELOPE ? ERR_OK : unpack_data(r, event, &data);
    if (e)
        return e;
    r->state->event = event;
    begin_span(r, item);
    e = item->def->fn(r, event, data);
    span_end_call(&r->state->span, e);
    r->state->event = NULL;
    return e;
}

static enum err queue_rows(struct reaction *r)
{
    struct reaction_state *s = r->state;

    if (s->nrows == 0)
        return ERR_OK;
    struct outbox_row *rows = arena_array(r->arena, s->nrows, sizeof *rows);
    if (rows == NULL)
        return ERR_RESOURCE_EXHAUSTED;
    size_t n = 0;
    for (const struct reaction_row *row = s->rows; row; row = row->next)
        rows[n++] = row->row;
    s->emitted = true;
    s->rows = NULL;
    s->rows_end = &s->rows;
    s->nrows = 0;
    return outbox_queue_rows(r->db, rows, n, r->arena);
}

enum err consumer_react_tenant(struct consumer *c, struct reaction *r,
                               struct consumer_item *const *items, size_t n)
{
    r->tenant = items[0]->tenant;
    r->batch = NULL;
    enum err e = db_set_tenant(r->db, r->tenant);
    if (e == ERR_OK && c->def->batch_begin)
        e = c->def->batch_begin(r);
    for (size_t i = 0; e == ERR_OK && i < n; i++)
        e = react(r, items[i]);
    if (e == ERR_OK && c->def->batch_end)
        e = c->def->batch_end(r);
    return e ? e : queue_rows(r);
}

void consumer_react_reason(const struct consumer *c, enum err e, char *buf, size_t size)
{
    const struct db_error *db = db_last_error(c->db);

    if (db->sqlstate[0])
        snprintf(buf, size, "%s: %s in %s %s", err_name(e), db->sqlstate, db->statement,
                 db->constraint);
    else
        snprintf(buf, size, "%s", err_name(e));
}

void consumer_react_tell(struct consumer *c, const struct reaction *r)
{
    const struct reaction_state *s = r->state;

    for (size_t i = 0; i < s->nhooks; i++)
        s->hooks[i].fn(r->daemon_data, s->hooks[i].arg);
    if (c->env.wake == NULL)
        return;
    if (s->emitted)
        c->env.wake(c->env.arg, BUS_WAKE_RELAY, NULL, 0);
    for (const struct reaction_wake_item *w = s->wakes; w; w = w->next)
        c->env.wake(c->env.arg, w->channel, w->data, w->len);
}
