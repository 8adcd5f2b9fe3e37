/*
 * audit_service.c - AuditService: who may look at the trail, and whether it is as it was written.
 */
#include "services/directory/audit.h"

#include "common/call_page.h"
#include "services/directory/sql.h"

#define VERIFY_DEFAULT 1000

typedef Daybook__Directory__V1__ListEntriesRequest PbListRequest;
typedef Daybook__Directory__V1__ListEntriesResponse PbListResponse;
typedef Daybook__Directory__V1__VerifyRequest PbVerifyRequest;
typedef Daybook__Directory__V1__VerifyResponse PbVerifyResponse;

#define ENTRY (&daybook__directory__v1__audit_entry__descriptor)

static const char *null_if_empty(const char *text)
{
    return *text ? text : NULL;
}

/* --- listing ------------------------------------------------------------------------------------ */

enum {
    P_TENANT,
    P_ACTOR,
    P_AGGREGATE,
    P_TYPE,
    P_METHOD,
    P_OUTCOME,
    P_FROM,
    P_TO,
    P_BEFORE,
    P_LIMIT,
    NPARAMS
};

/* False: the arena is full. */
static bool fill_filters(struct call *call, const PbListRequest *req, const char *p[NPARAMS])
{
    p[P_TENANT] = call_tenant_text(call);
    p[P_ACTOR] = null_if_empty(req->actor_id);
    p[P_AGGREGATE] = null_if_empty(req->aggregate);
    p[P_TYPE] = null_if_empty(req->type);
    p[P_METHOD] = null_if_empty(req->method);
    p[P_OUTCOME] = record_enum_text(&daybook__directory__v1__access_outcome__descriptor,
                                    (int)req->outcome, call->arena);
    p[P_FROM] = req->from ? db_text_time(call->arena, wire_time_us(req->from)) : NULL;
    p[P_TO] = req->to ? db_text_time(call->arena, wire_time_us(req->to)) : NULL;
    if (!p[P_OUTCOME] || (req->from && !p[P_FROM]) || (req->to && !p[P_TO]))
        return false;
    p[P_OUTCOME] = null_if_empty(p[P_OUTCOME]);
    return true;
}

static const char *name_filters(struct call *call, const char *const p[NPARAMS])
{
    const char *text = "audit";

    for (size_t i = 0; i <= P_TO && text; i++)
        text = arena_printf(call->arena, "%s|%s", text, p[i] ? p[i] : "");
    return text;
}

static enum err read_page(struct call *call, const PbListRequest *req, PbListResponse *reply)
{
    const char *params[NPARAMS] = { NULL };
    CLEANUP(db_result_clear) PGresult *res = NULL;

    if (!fill_filters(call, req, params))
        return ERR_RESOURCE_EXHAUSTED;
    struct call_page page = { .filter = name_filters(call, params) };
    enum err e = call_page_begin(call, req->page_size, req->page_token, &page);
    if (e)
        return e;
    params[P_BEFORE] = page.keys[0];
    params[P_LIMIT] = page.limit;
    e = db_exec(call->db, &sql_audit_list, params, &res);
    if (!e)
        e = record_read_all(res, ENTRY, call->arena, &reply->n_entries, &reply->entries);
    if (e)
        return e;
    reply->n_entries = call_page_rows(&page, reply->n_entries);
    if (!page.more)
        return ERR_OK;
    const char *keys[] = { db_text_i64(call->arena, reply->entries[reply->n_entries - 1]->number),
                           NULL };
    return keys[0] ? call_page_end(call, &page, keys, &reply->next_page_token)
                   : ERR_RESOURCE_EXHAUSTED;
}

enum err audit_list_entries(struct call *call, const ProtobufCMessage *request,
                            ProtobufCMessage **reply_out)
{
    PbListResponse *reply =
        call_new(call, &daybook__directory__v1__list_entries_response__descriptor);

    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = directory_need_right(call, RIGHT_AUDIT);
    if (!e)
        e = read_page(call, (const PbListRequest *)request, reply);
    *reply_out = &reply->base;
    return e;
}

/* --- verifying ---------------------------------------------------------------------------------- */

static enum err read_range(struct call *call, int64_t from, int64_t to, int32_t limit,
                           size_t *n_out, PbAuditEntry ***entries_out)
{
    const char *params[] = { call_tenant_text(call), db_text_i64(call->arena, from),
                             db_text_i64(call->arena, to), db_text_i64(call->arena, limit) };
    CLEANUP(db_result_clear) PGresult *res = NULL;

    if (!params[1] || !params[2] || !params[3])
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = db_exec(call->db, &sql_audit_range, params, &res);
    return e ? e : record_read_all(res, ENTRY, call->arena, n_out, entries_out);
}

/* Whether the trail still has the entry of which the caller kept the hash. */
static enum err find_start(struct call *call, const struct audit_link *start,
                           const char **fault_out)
{
    PbAuditEntry **entries = NULL;
    size_t n = 0;

    if (start->number == 0)
        return ERR_OK;
    enum err e = read_range(call, start->number, start->number, 1, &n, &entries);
    if (e)
        return e;
    if (n == 0)
        *fault_out = "that entry is missing";
    else if (entries[0]->hash.len != AUDIT_HASH_BYTES ||
             memcmp(entries[0]->hash.data, start->hash, AUDIT_HASH_BYTES) != 0)
        *fault_out = "that entry has another hash than the one given";
    return ERR_OK;
}

/* The end is where the head says that it is. */
static const char *check_end(const struct audit_link *last, const struct audit_link *head)
{
    if (last->number < head->number)
        return "an entry is missing";
    return memcmp(last->hash, head->hash, AUDIT_HASH_BYTES) == 0
               ? NULL
               : "it is not the newest entry that was written";
}

/* `last` goes on as far as the chain holds. */
static enum err follow(struct call *call, int32_t limit, const struct audit_link *head,
                       struct audit_link *last, const char **fault_out)
{
    PbAuditEntry **entries = NULL;
    size_t n = 0;

    enum err e = read_range(call, last->number + 1, head->number, limit, &n, &entries);
    for (size_t i = 0; !e && i < n && !*fault_out; i++)
        *fault_out = audit_chain_check(last, entries[i]);
    if (!e && !*fault_out && (n < (size_t)limit || last->number == head->number))
        *fault_out = check_end(last, head);
    return e;
}

static enum err take_start(struct call *call, const PbVerifyRequest *req, struct audit_link *start)
{
    *start = (struct audit_link){ .number = req->after_number };
    if (req->after_number == 0 && req->hash.len == 0)
        return ERR_OK;
    if (req->after_number == 0)
        return call_fail(call, ERR_INVALID_ARGUMENT, "hash", "goes with after_number");
    if (req->hash.len != AUDIT_HASH_BYTES)
        return call_fail(call, ERR_INVALID_ARGUMENT, "hash", "the %d bytes of that entry's hash",
                         AUDIT_HASH_BYTES);
    memcpy(start->hash, req->hash.data, AUDIT_HASH_BYTES);
    return ERR_OK;
}

static enum err verify(struct call *call, const PbVerifyRequest *req, PbVerifyResponse *reply)
{
    int32_t limit = req->limit ? req->limit : VERIFY_DEFAULT;
    struct audit_link last, head;
    const char *fault = NULL;

    enum err e = take_start(call, req, &last);
    if (!e) /* first: entries are added meanwhile */
        e = audit_read_head(call->db, call->arena, call->tenant, &head);
    if (!e)
        e = find_start(call, &last, &fault);
    if (!e && !fault)
        e = follow(call, limit, &head, &last, &fault);
    if (e)
        return e;
    reply->intact = fault == NULL;
    reply->number = last.number;
    reply->head_number = head.number;
    reply->fault = arena_strdup(call->arena, fault ? fault : "");
    reply->hash.data = arena_memdup(call->arena, last.hash, AUDIT_HASH_BYTES);
    reply->hash.len = AUDIT_HASH_BYTES;
    return reply->fault && reply->hash.data ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
}

enum err audit_verify(struct call *call, const ProtobufCMessage *request,
                      ProtobufCMessage **reply_out)
{
    PbVerifyResponse *reply = call_new(call, &daybook__directory__v1__verify_response__descriptor);

    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = directory_need_right(call, RIGHT_AUDIT);
    if (!e)
        e = verify(call, (const PbVerifyRequest *)request, reply);
    *reply_out = &reply->base;
    return e;
}
