/*
 * call.c - what handlers, checks and reactions' helpers may say about a call: failures, facts,
 * events, hooks. All of it is gathered in the state and used by call_run.c and call_error.c after
 * the handler has returned, so saying something never fails; running out of memory shows at the
 * end.
 */
#include "common/call_state.h"

#include <assert.h>

#include "common/clock.h"

void call_forget(struct call *call)
{
    struct call_state *s = call->state;

    s->failure = (struct call_failure){ 0 };
    s->violations = NULL;
    s->violations_end = &s->violations;
    s->nviolations = 0;
    s->metadata = NULL;
    s->metadata_end = &s->metadata;
    s->details = NULL;
    s->details_end = &s->details;
    s->events = NULL;
    s->events_end = &s->events;
    s->nevents = 0;
    s->nhooks = 0;
    s->wakes = NULL;
    s->wakes_end = &s->wakes;
    s->looked_up = false;
    s->stored = (struct call_stored){ 0 };
    s->out_of_memory = false;
    s->withheld = false;
    s->out_of_sight = false;
}

enum err call_open(struct call *call, struct arena *arena)
{
    call->arena = arena;
    call->state = arena_alloc(arena, sizeof *call->state);
    if (call->state == NULL)
        return ERR_RESOURCE_EXHAUSTED;
    if (call->now_us == 0)
        call->now_us = clock_now_us();
    call_forget(call);
    return ERR_OK;
}

/* --- failures --- */

static const char *format(struct call *call, const char *fmt, va_list ap)
{
    const char *text = arena_vprintf(call->arena, fmt, ap);
    if (text)
        return text;
    call->state->out_of_memory = true;
    return "";
}

static const char *copy(struct call *call, const char *text)
{
    const char *mine = arena_strdup(call->arena, text ? text : "");
    if (mine)
        return mine;
    call->state->out_of_memory = true;
    return "";
}

static void add_violation(struct call *call, const char *reason, const char *field,
                          const char *description)
{
    struct call_state *s = call->state;

    if (++s->nviolations > CALL_VIOLATIONS_MAX)
        return;
    struct call_violation_item *v = arena_alloc(call->arena, sizeof *v);
    if (v == NULL) {
        s->out_of_memory = true;
        return;
    }
    *v = (struct call_violation_item){ .field = copy(call, field),
                                       .description = description,
                                       .reason = reason };
    *s->violations_end = v;
    s->violations_end = &v->next;
}

enum err call_fail(struct call *call, enum err code, const char *field, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    const char *message = format(call, fmt, ap);
    va_end(ap);
    call->state->failure =
        (struct call_failure){ .code = code, .field = copy(call, field), .message = message };
    if ((code == ERR_INVALID_ARGUMENT || code == ERR_OUT_OF_RANGE) && field && field[0])
        add_violation(call, NULL, field, message);
    return code;
}

enum err call_reason(struct call *call, enum err code, const char *reason)
{
    call->state->failure.reason = copy(call, reason);
    return code;
}

void call_resource(struct call *call, const char *type, const char *name, const char *text)
{
    struct call_failure *f = &call->state->failure;

    f->resource_type = copy(call, type);
    f->resource_name = copy(call, name);
    f->resource_text = copy(call, text);
}

void call_retry_after(struct call *call, int64_t delay_us)
{
    call->state->failure.retry_us = delay_us;
}

void call_violation(struct call *call, const char *field, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    add_violation(call, NULL, field, format(call, fmt, ap));
    va_end(ap);
}

void call_violation_reason(struct call *call, const char *reason, const char *field,
                           const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    add_violation(call, reason, field, format(call, fmt, ap));
    va_end(ap);
}

enum err call_violations(struct call *call)
{
    struct call_state *s = call->state;

    if (s->nviolations == 0)
        return ERR_OK;
    const struct call_violation_item *first = s->violations;
    const char *message = NULL;
    if (first && s->nviolations == 1)
        message = arena_printf(call->arena, "%s: %s", first->field, first->description);
    else if (first)
        message = arena_printf(call->arena, "%s: %s (and %zu more faulty fields)", first->field,
                               first->description, s->nviolations - 1);
    s->failure = (struct call_failure){ .code = ERR_INVALID_ARGUMENT,
                                        .field = first ? first->field : "",
                                        .message = message ? message : "faulty fields" };
    return ERR_INVALID_ARGUMENT;
}

/* --- facts --- */

static void add_pair(struct call *call, struct call_pair ***end, const char *key, const char *value)
{
    struct call_pair *p = arena_alloc(call->arena, sizeof *p);
    if (p == NULL) {
        call->state->out_of_memory = true;
        return;
    }
    *p = (struct call_pair){ .key = key, .value = copy(call, value) };
    **end = p;
    *end = &p->next;
}

void call_metadata(struct call *call, const char *key, const char *value)
{
    add_pair(call, &call->state->metadata_end, copy(call, key), value);
}

void call_detail(struct call *call, const char *key, const char *value)
{
    add_pair(call, &call->state->details_end, key, value);
}

void call_withhold_reply(struct call *call)
{
    call->state->withheld = true;
}

void call_out_of_sight(struct call *call)
{
    call->state->out_of_sight = true;
}

/* --- effects --- */

enum err call_emit(struct call *call, const char *collection, const char *id, int64_t version,
                   const ProtobufCMessage *event)
{
    struct call_state *s = call->state;
    struct call_event *item = arena_alloc(call->arena, sizeof *item);

    if (item == NULL || event == NULL)
        return ERR_RESOURCE_EXHAUSTED;
    const PbCallContext *context = call->context;
    enum err e = outbox_pack(
        &(struct outbox_event){
            .tenant = call->tenant,
            .collection = collection,
            .aggregate_id = id,
            .version = version,
            .occurred_at_us = call->now_us,
            .actor = call->actor,
            .request_id = context ? context->request_id : "",
            .traceparent = context ? context->traceparent : "",
            .origin = s->origin,
            .message = event,
        },
        call->arena, &item->row);
    if (e)
        return e;
    *s->events_end = item;
    s->events_end = &item->next;
    s->nevents++;
    return ERR_OK;
}

void call_after_commit(struct call *call, void (*fn)(struct call *call, void *arg), void *arg)
{
    struct call_state *s = call->state;

    assert(s->nhooks < CALL_HOOKS_MAX);
    s->hooks[s->nhooks++] = (struct call_hook){ .fn = fn, .arg = arg };
}

void call_wake(struct call *call, const char *channel, const void *data, size_t len)
{
    struct call_state *s = call->state;
    struct call_wake_item *w = arena_alloc(call->arena, sizeof *w);
    void *mine = len ? arena_memdup(call->arena, data, len) : NULL;

    /* A wake only saves the sleeper's next poll; without memory it is left out. */
    if (w == NULL || (len && mine == NULL))
        return;
    *w = (struct call_wake_item){ .channel = copy(call, channel), .data = mine, .len = len };
    *s->wakes_end = w;
    s->wakes_end = &w->next;
}

/* --- parameters --- */

static const char *id_param(struct call *call, struct id id, const char **cached)
{
    if (*cached == NULL)
        *cached = db_text_id(call->arena, id);
    if (*cached)
        return *cached;
    call->state->out_of_memory = true;
    return "00000000-0000-0000-0000-000000000000"; /* no tenant's: finds nothing, RLS refuses it */
}

const char *call_tenant_text(struct call *call)
{
    return id_param(call, call->tenant, &call->state->tenant_text);
}

const char *call_actor_text(struct call *call)
{
    return id_param(call, call->actor, &call->state->actor_text);
}
