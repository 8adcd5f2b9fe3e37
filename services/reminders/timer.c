/*
 * timer.c - the handlers of TimerService: timers that the engine put aside, and arming them again. It
 * finds an armed timer with its next look into the table, a second later at most.
 */
#include "common/authority.h"
#include "common/call_page.h"
#include "common/sbuf.h"
#include "services/reminders/methods.h"
#include "services/reminders/sql.h"

#define IDS_LIMIT (8 * KIB)

static enum err count_waiting(struct call *call, int64_t *n_out)
{
    const char *const params[] = { call_tenant_text(call) };
    CLEANUP(db_result_clear) PGresult *res = NULL;

    enum err e = db_exec(call->db, &sql_timers_waiting, params, &res);
    if (e)
        return e;
    struct db_row row = { .res = res };
    *n_out = db_row_i64(&row, "waiting");
    return row.bad ? ERR_INTERNAL : ERR_OK;
}

static enum err end_page(struct call *call, const struct call_page *page, const PbParkedTimer *last,
                         char **token_out)
{
    const char *const keys[] = { db_text_time(call->arena, wire_time_us(last->parked_at)),
                                 last->reminder_id, db_text_i64(call->arena, last->step), NULL };

    return keys[0] && keys[2] ? call_page_end(call, page, keys, token_out) : ERR_RESOURCE_EXHAUSTED;
}

enum err timer_list_parked(struct call *call, const ProtobufCMessage *in,
                           ProtobufCMessage **reply_out)
{
    const Daybook__Reminders__V1__ListParkedTimersRequest *req = (const void *)in;
    Daybook__Reminders__V1__ListParkedTimersResponse *reply =
        call_new(call, &daybook__reminders__v1__list_parked_timers_response__descriptor);
    struct call_page page = { .filter =
                                  arena_printf(call->arena, "timers/%s", call_actor_text(call)) };
    CLEANUP(db_result_clear) PGresult *res = NULL;

    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = authority_need_manager(call, "see timers that were put aside");
    if (!e)
        e = call_page_begin(call, req->page_size, req->page_token, &page);
    if (!e)
        e = count_waiting(call, &reply->waiting);
    if (e)
        return e;
    const char *const params[] = { call_tenant_text(call), page.keys[0], page.keys[1], page.keys[2],
                                   page.limit };
    e = db_exec(call->db, &sql_timers_parked, params, &res);
    if (!e)
        e = record_read_all(res, &daybook__reminders__v1__parked_timer__descriptor, call->arena,
                            &reply->n_timers, &reply->timers);
    if (e)
        return e;
    reply->n_timers = call_page_rows(&page, reply->n_timers);
    if (page.more)
        e = end_page(call, &page, reply->timers[reply->n_timers - 1], &reply->next_page_token);
    *reply_out = &reply->base;
    return e;
}

/* As an array; the check has seen that they are ids. NULL: the arena is full. */
static const char *array_of(struct call *call, char *const *ids, size_t n)
{
    struct sbuf text;

    sbuf_init(&text, IDS_LIMIT);
    for (size_t i = 0; i < n; i++)
        sbuf_addf(&text, "%c%s", i ? ',' : '{', ids[i]);
    sbuf_add_char(&text, '}');
    const char *copy = text.bad ? NULL : arena_strdup(call->arena, text.data);
    sbuf_fini(&text);
    return copy;
}

enum err timer_replay(struct call *call, const ProtobufCMessage *in, ProtobufCMessage **reply_out)
{
    const Daybook__Reminders__V1__ReplayTimersRequest *req = (const void *)in;
    Daybook__Reminders__V1__ReplayTimersResponse *reply =
        call_new(call, &daybook__reminders__v1__replay_timers_response__descriptor);
    bool all = req->n_reminder_ids == 0;
    const char *const params[] = { call_tenant_text(call),
                                   all ? NULL
                                       : array_of(call, req->reminder_ids, req->n_reminder_ids),
                                   db_text_i64(call->arena, TIMERS_REPLAY_MAX) };
    CLEANUP(db_result_clear) PGresult *res = NULL;

    if (!reply || (!all && !params[1]) || !params[2])
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = authority_need_manager(call, "arm timers again");
    if (!e)
        e = db_exec(call->db, &sql_timers_replay, params, &res);
    if (!e)
        e = record_read_all(res, &daybook__reminders__v1__parked_timer__descriptor, call->arena,
                            &reply->n_timers, &reply->timers);
    if (!e && reply->n_timers) {
        struct db_row row = { .res = res };
        reply->more = all && db_row_i64(&row, "_duties") == TIMERS_REPLAY_MAX;
        e = row.bad ? ERR_INTERNAL : ERR_OK;
    }
    *reply_out = &reply->base;
    return e ? e : call_emit_replay(call, in, (int64_t)reply->n_timers);
}
