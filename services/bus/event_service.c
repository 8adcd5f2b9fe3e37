/* event_service.c - see event_service.h. */
#include "services/bus/event_service.h"

#include "common/authority.h"
#include "common/clock.h"
#include "common/sbuf.h"
#include "daybook/bus/v1/bus.pb-c.h"
#include "services/bus/identity.h"
#include "services/bus/sql.h"

#define LIMIT_DEFAULT 100
#define PAGE_BYTES (1 * MIB) /* of events; an answer stops where it would be longer */
#define EVENT_BYTES 300      /* of an event without its message */
#define LIMIT_MAX 1000
#define TYPES_MAX 64
#define ARRAY_MAX (64 * KIB)
#define WINDOW 20000 /* events looked through by one statement */
#define SEARCH_US SECOND_US
#define SEARCH_MARGIN_US (500 * MSEC_US)

typedef Daybook__Bus__V1__ReadEventsRequest PbReadEventsRequest;
typedef Daybook__Bus__V1__ReadEventsResponse PbReadEventsResponse;
typedef Daybook__Bus__V1__GetHeadRequest PbGetHeadRequest;
typedef Daybook__Bus__V1__GetHeadResponse PbGetHeadResponse;

/* Whose events the caller reads: NULL in tenant_out for all. */
static enum err need_log(struct call *call, const char **tenant_out)
{
    static const char *const roles[] = { "general_manager", NULL };
    *tenant_out = id_is_nil(call->tenant) ? NULL : call_tenant_text(call);
    if (authority_is_system(call) ||
        (id_is_nil(call->tenant) && authority_has_scope(call, IDENTITY_SCOPE_EVENTS_ALL)))
        return ERR_OK;
    if (id_is_nil(call->tenant))
        return call_fail(call, ERR_PERMISSION_DENIED, "", "the caller has no tenant to read");
    /* service accounts: by the scope of the method; people by their role, never without it */
    bool person =
        call->context && call->context->principal &&
        call->context->principal->kind == DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_EMPLOYEE;
    if (person && !call->employee)
        return call_fail(call, ERR_UNAVAILABLE, "", "the directory is not known yet; ask again");
    return person ? authority_need_role(call, roles, "read the events of the company") : ERR_OK;
}

/* --- ReadEvents ----------------------------------------------------------------------------- */

/* Two array literals: full names, and prefixes, which end in a dot; both NULL when all are wanted.
 */
static enum err split_types(struct call *call, const PbReadEventsRequest *req,
                            const char **names_out, const char **prefixes_out)
{
    struct sbuf arrays[2];
    *names_out = *prefixes_out = NULL;
    if (req->n_types == 0)
        return ERR_OK;
    for (size_t i = 0; i < ARRAY_LEN(arrays); i++) {
        sbuf_init(&arrays[i], ARRAY_MAX);
        sbuf_add_char(&arrays[i], '{');
    }
    for (size_t i = 0; i < req->n_types; i++) {
        size_t len = strlen(req->types[i]);
        struct sbuf *b = &arrays[len > 0 && req->types[i][len - 1] == '.'];
        if (b->len > 1)
            sbuf_add_char(b, ',');
        sbuf_add_pg_element(b, req->types[i]);
    }
    const char *texts[2] = { NULL };
    for (size_t i = 0; i < ARRAY_LEN(arrays); i++) {
        sbuf_add_char(&arrays[i], '}');
        texts[i] = arrays[i].bad ? NULL : arena_strdup(call->arena, arrays[i].data);
        sbuf_fini(&arrays[i]);
    }
    *names_out = texts[0];
    *prefixes_out = texts[1];
    return texts[0] && texts[1] ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
}

static enum err check_read(struct call *call, const PbReadEventsRequest *req)
{
    if (req->after_seq < 0)
        call_violation(call, "after_seq", "must not be negative");
    if (req->after_seq > INT64_MAX - WINDOW)
        call_violation(call, "after_seq", "is no position of a log");
    if (req->limit < 0)
        call_violation(call, "limit", "must be 1 to %d, or 0 for %d", LIMIT_MAX, LIMIT_DEFAULT);
    if (req->n_types > TYPES_MAX)
        call_violation(call, "types", "at most %d", TYPES_MAX);
    for (size_t i = 0; i < req->n_types; i++)
        if (req->types[i][0] == 0)
            call_violation(call, "types", "an empty name stands for nothing; leave it out");
    return call_violations(call);
}

/* So many rows as an answer should hold: some events tell of hundreds of records. One at least. */
static int rows_that_fit(const PGresult *res)
{
    int column = PQfnumber(res, "data.value"), n = 0;
    size_t bytes = 0;

    for (; n < PQntuples(res); n++) {
        bytes += (size_t)PQgetlength(res, n, column) / 2 + EVENT_BYTES; /* hexadecimal */
        if (n && bytes > PAGE_BYTES)
            break;
    }
    return n;
}

/* cut_out: not all of the rows were taken. */
static enum err fill(struct call *call, const PGresult *res, PbReadEventsResponse *reply,
                     bool *cut_out)
{
    struct db_row row = { .res = res };
    if (PQntuples(res) == 0) /* bus.head has its row from the migration on */
        return ERR_INTERNAL;
    const char *log_id = db_row_text(&row, "_log_id");
    reply->log_id = arena_strdup(call->arena, log_id ? log_id : "");
    reply->head_seq = db_row_i64(&row, "_head_seq");
    if (row.bad || !reply->log_id)
        return ERR_INTERNAL;
    if (db_row_is_null(&row, "seq"))
        return ERR_OK; /* the head alone */
    int n = rows_that_fit(res);
    reply->events = arena_array(call->arena, (size_t)n, sizeof(*reply->events));
    enum err e = reply->events ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
    for (int i = 0; i < n && !e; i++)
        e = record_read(res, i, &daybook__bus__v1__event__descriptor, call->arena,
                        &reply->events[i]);
    reply->n_events = e ? 0 : (size_t)n;
    *cut_out = n < PQntuples(res);
    return e;
}

struct reading {
    int32_t limit;
    const char *tenant, *aggregate, *names, *prefixes;
};

static enum err read_window(struct call *call, const struct reading *r, int64_t after_seq,
                            int64_t upto_seq, PbReadEventsResponse *reply, bool *cut_out)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    const char *upto = db_text_i64(call->arena, upto_seq);
    const char *params[] = {
        db_text_i64(call->arena, after_seq),
        db_text_i64(call->arena, r->limit),
        r->aggregate,
        r->names,
        r->prefixes,
        r->tenant ? r->tenant : upto,
        upto,
    };
    if (!params[0] || !params[1] || !upto)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e =
        db_exec(call->db, r->tenant ? &sql_event_read_tenant : &sql_event_read, params, &res);
    return e ? e : fill(call, res, reply, cut_out);
}

/*
 * A filter by types has no index, so the log is looked through in windows, until something is found
 * or the time for it is up: then the answer says how far it came. Nobody holds a worker for the
 * length of the log.
 */
static enum err read_through(struct call *call, const struct reading *r, int64_t after_seq,
                             PbReadEventsResponse *reply)
{
    int64_t until_us = MIN(clock_monotonic_us() + SEARCH_US, call->deadline_us - SEARCH_MARGIN_US);
    int64_t window = r->names ? WINDOW : INT64_MAX - after_seq;
    bool cut = false;

    do {
        enum err e = read_window(call, r, after_seq, after_seq + window, reply, &cut);
        if (e)
            return e;
        after_seq += window;
    } while (reply->n_events == 0 && after_seq < reply->head_seq &&
             clock_monotonic_us() < until_us);
    bool full = cut || reply->n_events == (size_t)r->limit;
    reply->read_upto_seq =
        full ? reply->events[reply->n_events - 1]->seq : MIN(after_seq, reply->head_seq);
    return ERR_OK;
}

static enum err read_events(struct call *call, const ProtobufCMessage *in,
                            ProtobufCMessage **reply_out)
{
    const PbReadEventsRequest *req = (const void *)in;
    PbReadEventsResponse *reply =
        call_new(call, &daybook__bus__v1__read_events_response__descriptor);
    const char *tenant, *names, *prefixes;

    enum err e = need_log(call, &tenant);
    if (!e)
        e = check_read(call, req);
    if (!e)
        e = split_types(call, req, &names, &prefixes);
    if (e)
        return e;
    struct reading r = { .limit = req->limit == 0 ? LIMIT_DEFAULT : MIN(req->limit, LIMIT_MAX),
                         .tenant = tenant,
                         .aggregate = req->aggregate[0] ? req->aggregate : NULL,
                         .names = names,
                         .prefixes = prefixes };
    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    e = read_through(call, &r, req->after_seq, reply);
    if (!e)
        *reply_out = &reply->base;
    return e;
}

/* --- GetHead -------------------------------------------------------------------------------- */

static enum err get_head(struct call *call, const ProtobufCMessage *in,
                         ProtobufCMessage **reply_out)
{
    const PbGetHeadRequest *req = (const void *)in;
    PbGetHeadResponse *reply = NULL;
    const char *tenant;
    CLEANUP(db_result_clear) PGresult *counts = NULL;

    enum err e = need_log(call, &tenant);
    if (!e)
        e = record_find(call->db, req->omit_types ? &sql_event_head : &sql_event_unpublished, NULL,
                        &daybook__bus__v1__get_head_response__descriptor, call->arena, &reply);
    if (!e && req->omit_types) {
        *reply_out = &reply->base;
        return ERR_OK;
    }
    if (!e)
        e = db_exec(call->db, &sql_event_counts, (const char *[]){ tenant }, &counts);
    if (!e)
        e = record_read_all(counts, &daybook__bus__v1__type_count__descriptor, call->arena,
                            &reply->n_types, &reply->types);
    if (!e)
        *reply_out = &reply->base;
    return e;
}

const struct method event_service_methods[] = {
    { .service = "daybook.bus.v1.EventService",
      .name = "ReadEvents",
      .handler = read_events,
      .scope = "events.read",
      .flags = METHOD_TENANTLESS },
    { .service = "daybook.bus.v1.EventService",
      .name = "GetHead",
      .handler = get_head,
      .scope = "events.read",
      .flags = METHOD_TENANTLESS },
};
const size_t event_service_methods_len = ARRAY_LEN(event_service_methods);
