/*
 * call_run.c - a method in its transaction, and what to do when that fails.
 *
 * A command is one transaction: look-up of its key, the handler's statements, events, record of the
 * answer, COMMIT. After a failure nothing of it is there, so running it again is always right; the
 * question is only whether it helps:
 *
 *   the key's record was found           its answer is the answer
 *   lost to a twin on the record         again, and find the twin's answer
 *   serialization failure, deadlock      again, at most 3 times, after a random pause (F19)
 *   connection lost before COMMIT        again, once (F11, F23)
 *   COMMIT in doubt                      look for the record: found, or again (F01, F11)
 *   refused by the handler               look for the record once more: a twin may have committed
 *                                        since, and what it did is why this one was refused
 *   anything else                        the caller's to know
 */
#include "common/call_state.h"

#include <sodium.h>

#include "common/clock.h"
#include "common/metrics.h"

#define ABORTED_MAX 3
#define TWIN_MAX 3
#define LOST_MAX 1
#define DOUBT_MAX 2
#define START_MIN_US (5 * MSEC_US) /* below, do not start (protocols H.2) */
#define PAUSE_BASE_US (5 * MSEC_US)
#define DOUBT_LIMIT_US (3 * SECOND_US)
#define DOUBT_PAUSE_US (100 * MSEC_US)

static struct metric in_doubt_total = {
    .name = "daybook_commit_in_doubt_total",
    .type = METRIC_COUNTER,
    .help = "Commits whose outcome had to be looked up: found, rerun, unknown.",
    .labels = { "outcome" },
};

/* What call_run() knows between two runs. */
struct runner {
    struct call *call;
    const struct method *method;
    const char *schema;
    const ProtobufCMessage *request;
    struct id tenant; /* the caller's, whatever the handler acted for */
    ProtobufCMessage *reply;
    bool begun; /* the transaction was open */
    bool in_doubt;
    int aborted, twins, lost, doubts;
};

static bool is_command(const struct runner *r)
{
    return r->call->state->key != NULL;
}

/* A random pause below limit_us, cut at the deadline. */
static void pause_up_to(int64_t limit_us, int64_t deadline_us)
{
    int64_t us = randombytes_uniform((uint32_t)limit_us);
    int64_t left_us = clock_left_us(deadline_us);

    us = MIN(us, left_us);
    struct timespec t = { .tv_sec = us / SECOND_US, .tv_nsec = us % SECOND_US * 1000 };
    clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
}

/* --- one run --- */

/* The outbox takes events of the transaction's tenant only. Nearly always that is the caller's; a
 * command that makes a tenant emits in the new one. */
static enum err queue_rows(struct call *call, const struct outbox_row *rows, size_t n)
{
    struct id tenant = call->tenant;
    enum err e = ERR_OK;

    for (size_t from = 0, to = 0; e == ERR_OK && from < n; from = to) {
        while (to < n && id_equal(rows[to].tenant, rows[from].tenant))
            to++;
        if (!id_equal(rows[from].tenant, tenant))
            e = db_set_tenant(call->db, tenant = rows[from].tenant);
        if (e == ERR_OK)
            e = outbox_queue_rows(call->db, rows + from, to - from, call->arena);
    }
    return e == ERR_OK && !id_equal(tenant, call->tenant) ? db_set_tenant(call->db, call->tenant)
                                                          : e;
}

static enum err queue_events(struct call *call)
{
    struct call_state *s = call->state;

    if (s->nevents == 0)
        return ERR_OK;
    struct outbox_row *rows = arena_array(call->arena, s->nevents, sizeof *rows);
    if (rows == NULL)
        return ERR_RESOURCE_EXHAUSTED;
    size_t n = 0;
    for (const struct call_event *ev = s->events; ev; ev = ev->next)
        rows[n++] = ev->row;
    return queue_rows(call, rows, n);
}

static enum err handle(struct runner *r)
{
    struct call *call = r->call;

    enum err e = is_command(r) ? call_idem_queue_lookup(call, r->schema) : ERR_OK;
    if (e == ERR_OK)
        e = r->method->handler(call, r->request, &r->reply);
    if (e)
        return e;
    if (call->state->out_of_memory)
        return ERR_RESOURCE_EXHAUSTED;
    return r->reply ? ERR_OK : ERR_INTERNAL;
}

static enum err finish(struct runner *r)
{
    enum err e = r->method->flags & METHOD_BULK_READ
                     ? call_audit_read(r->call, r->request, r->reply)
                     : ERR_OK;
    if (e == ERR_OK)
        e = queue_events(r->call);
    if (e == ERR_OK && is_command(r))
        e = call_idem_queue_insert(r->call, r->schema, r->call->state->withheld ? NULL : r->reply);
    return e;
}

static enum err commit(struct runner *r, const struct span *transaction)
{
    struct span span;

    span_begin_part(&span, transaction, "commit");
    enum err e = db_commit(r->call->db);
    if (e)
        span_fail(&span, err_name(e));
    span_end(&span);
    return e;
}

static enum err transact(struct runner *r, const struct span *span)
{
    struct call *call = r->call;

    enum err e = db_begin(call->db, &call->tenant, call->deadline_us);
    r->begun = e == ERR_OK;
    if (e == ERR_OK)
        e = handle(r);
    if (e == ERR_OK)
        e = finish(r);
    return e ? e : commit(r, span);
}

static enum err run_once(struct runner *r)
{
    struct call *call = r->call;
    struct span span;

    call_forget(call);
    call->state->db_error = (struct db_error){ 0 };
    call->tenant = r->tenant;
    r->reply = NULL;
    r->in_doubt = false;
    span_begin_part(&span, call->state->span, "transaction");
    enum err e = transact(r, &span);
    if (e)
        span_text(&span, "error.type", err_name(e));
    span_end(&span);
    if (!r->begun)
        return e;
    if (e)
        call->state->db_error = *db_last_error(call->db);
    call->tenant = r->tenant;
    r->in_doubt = db_in_doubt(call->db);
    db_rollback(call->db);
    return e;
}

/* --- after a failure --- */

static bool starts_with(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

/* A race that the database lost for us, and not one of which the handler has told the caller. */
static bool is_race(const struct runner *r, enum err e)
{
    const struct call_state *s = r->call->state;
    return e == ERR_ABORTED &&
           (s->failure.code != ERR_ABORTED || starts_with(s->db_error.sqlstate, "40"));
}

static bool is_connection_loss(const struct runner *r, enum err e)
{
    return e == ERR_UNAVAILABLE && r->begun && !db_is_connected(r->call->db);
}

/* Codes whose cause may be the effect of a twin. */
static bool may_be_the_twins_doing(enum err e)
{
    return e == ERR_ALREADY_EXISTS || e == ERR_FAILED_PRECONDITION || e == ERR_ABORTED ||
           e == ERR_NOT_FOUND || e == ERR_PERMISSION_DENIED;
}

/* Refused before the look-up had travelled with a statement: an earlier run may have been answered
 * when the request was still good (a date that has passed since). */
static bool never_looked(const struct runner *r, enum err e)
{
    return !r->call->state->looked_up && (e == ERR_INVALID_ARGUMENT || e == ERR_OUT_OF_RANGE);
}

static bool time_is_left(const struct call *call)
{
    return call->deadline_us - clock_monotonic_us() >= START_MIN_US;
}

/* Asks until somebody answers. ERR_OK: state->stored tells. */
static enum err look_until_known(struct runner *r)
{
    int64_t until_us = MIN(r->call->deadline_us, clock_monotonic_us() + DOUBT_LIMIT_US);

    for (;;) {
        enum err e = call_idem_look(r->call, r->schema, true, until_us);
        if (e == ERR_OK || e == ERR_RESOURCE_EXHAUSTED || clock_monotonic_us() >= until_us)
            return e;
        pause_up_to(DOUBT_PAUSE_US, until_us);
    }
}

static void count_doubt(const char *outcome)
{
    metric_add(&in_doubt_total, 1, (const char *const[]){ outcome });
}

/* True: run again. False: *e is the end, ERR_REPLAYED when the answer was found. */
static bool settle_doubt(struct runner *r, enum err *e)
{
    struct call_state *s = r->call->state;

    if (!is_command(r)) /* it wrote nothing, or that it read */
        return r->doubts++ < DOUBT_MAX;
    enum err looked = look_until_known(r);
    if (looked == ERR_OK && s->stored.found) {
        count_doubt("found");
        *e = ERR_REPLAYED;
        return false;
    }
    if (looked == ERR_OK && r->doubts++ < DOUBT_MAX && time_is_left(r->call)) {
        count_doubt("rerun");
        return true;
    }
    count_doubt("unknown");
    *e = call_fail(
        r->call, ERR_UNAVAILABLE, "",
        "whether this was done is not known; send it again with the same idempotency key");
    call_reason(r->call, *e, "OUTCOME_UNKNOWN");
    call_retry_after(r->call, SECOND_US);
    return false;
}

static bool run_again(struct runner *r, enum err *e)
{
    struct call_state *s = r->call->state;

    if (r->in_doubt)
        return settle_doubt(r, e);
    if (!time_is_left(r->call))
        return false;
    if (call_idem_lost_to_twin(&s->db_error))
        return r->twins++ < TWIN_MAX;
    if (is_race(r, *e) && r->aborted < ABORTED_MAX) {
        pause_up_to(PAUSE_BASE_US << r->aborted++, r->call->deadline_us);
        return time_is_left(r->call);
    }
    return is_connection_loss(r, *e) && r->lost++ < LOST_MAX;
}

static enum err key_reused(struct call *call)
{
    call_forget(call);
    enum err e = call_fail(call, ERR_INVALID_ARGUMENT, "idempotency_key",
                           "this key was used for another request; choose a new one");
    return call_reason(call, e, "IDEMPOTENCY_KEY_REUSED");
}

static enum err key_in_use(struct call *call)
{
    call_forget(call);
    enum err e = call_fail(call, ERR_ABORTED, "idempotency_key",
                           "a request with this key is being worked on; ask again soon");
    call_retry_after(call, 500 * MSEC_US);
    return call_reason(call, e, "IDEMPOTENCY_KEY_IN_USE");
}

/* The failure as the caller is to see it, when another run would not help. */
static enum err conclude(struct runner *r, enum err e)
{
    struct call *call = r->call;
    struct call_state *s = call->state;

    if (is_command(r) && call_idem_key_in_use(&s->db_error))
        return key_in_use(call);
    if (is_command(r) && !s->stored.found && time_is_left(call) &&
        (may_be_the_twins_doing(e) || never_looked(r, e))) {
        enum err looked = call_idem_look(call, r->schema, false, call->deadline_us);
        if (looked)
            return e; /* the refusal stands; the record could only have softened it */
    }
    if (s->stored.found)
        return s->stored.same ? ERR_OK : key_reused(call);
    return e == ERR_REPLAYED ? ERR_INTERNAL : e; /* replayed, but nothing was found: our bug */
}

static void run_hooks(struct call *call)
{
    for (size_t i = 0; i < call->state->nhooks; i++)
        call->state->hooks[i].fn(call, call->state->hooks[i].arg);
}

enum err call_run(struct call *call, const struct method *method, const char *schema,
                  const ProtobufCMessage *request, ProtobufCMessage **reply_out)
{
    struct runner r = {
        .call = call, .method = method, .schema = schema, .request = request, .tenant = call->tenant
    };
    size_t mark = arena_used(call->arena);
    enum err e;

    *reply_out = NULL;
    do {
        arena_discount(call->arena, mark); /* each run may use as much */
        e = run_once(&r);
        if (e == ERR_OK) {
            run_hooks(call);
            *reply_out = r.reply;
            return ERR_OK;
        }
    } while (!call->state->stored.found && run_again(&r, &e));
    return conclude(&r, e);
}
