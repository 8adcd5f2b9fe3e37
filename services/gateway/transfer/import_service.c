/*
 * import_service.c - the handlers for imports that are under way or have ended. They begin with an
 * upload by HTTP (transfer_http.c).
 */
#include "common/authority.h"
#include "common/call_page.h"
#include "services/gateway/sql.h"
#include "services/gateway/transfer/transfer.h"

#define POLL_MS "500"

void transfer_hint_poll(struct call *call, int state)
{
    if (state == TRANSFER_STATE(PENDING) || state == TRANSFER_STATE(RUNNING))
        call_metadata(call, "retry-after-ms", POLL_MS);
}

static enum err need_import(struct call *call, const char *id, PbImport **out)
{
    const char *const params[] = { call_tenant_text(call), id };
    struct id owner;

    enum err e = record_find(call->db, &sql_import_find, params,
                             &daybook__gateway__v1__import__descriptor, call->arena, out);
    if (e && e != ERR_NOT_FOUND)
        return e;
    bool hidden = !e && (!id_parse((*out)->created_by, &owner) || !authority_sees(call, owner));
    if (hidden)
        call_out_of_sight(call);
    if (e || hidden)
        return call_fail(call, ERR_NOT_FOUND, "id", "there is no import %s", id);
    return ERR_OK;
}

enum err import_get(struct call *call, const ProtobufCMessage *in, ProtobufCMessage **reply_out)
{
    const Daybook__Gateway__V1__GetImportRequest *req = (const void *)in;
    Daybook__Gateway__V1__GetImportResponse *reply =
        call_new(call, &daybook__gateway__v1__get_import_response__descriptor);

    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = need_import(call, req->id, &reply->import);
    if (e)
        return e;
    transfer_hint_poll(call, (int)reply->import->state);
    *reply_out = &reply->base;
    return ERR_OK;
}

enum err import_list(struct call *call, const ProtobufCMessage *in, ProtobufCMessage **reply_out)
{
    const Daybook__Gateway__V1__ListImportsRequest *req = (const void *)in;
    Daybook__Gateway__V1__ListImportsResponse *reply =
        call_new(call, &daybook__gateway__v1__list_imports_response__descriptor);
    CLEANUP(db_result_clear) PGresult *res = NULL;
    struct call_page page = { .filter = "imports" };

    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = call_page_begin(call, req->page_size, req->page_token, &page);
    if (e)
        return e;
    const char *const params[] = { call_tenant_text(call), authority_visible_owners(call),
                                   page.keys[0], page.limit };
    e = db_exec(call->db, &sql_import_list, params, &res);
    if (!e)
        e = record_read_all(res, &daybook__gateway__v1__import__descriptor, call->arena,
                            &reply->n_imports, &reply->imports);
    if (e)
        return e;
    reply->n_imports = call_page_rows(&page, reply->n_imports);
    if (page.more) {
        const char *const keys[] = { reply->imports[reply->n_imports - 1]->id, NULL };
        e = call_page_end(call, &page, keys, &reply->next_page_token);
    }
    *reply_out = &reply->base;
    return e;
}

enum err import_cancel(struct call *call, const ProtobufCMessage *in, ProtobufCMessage **reply_out)
{
    const Daybook__Gateway__V1__CancelImportRequest *req = (const void *)in;
    Daybook__Gateway__V1__CancelImportResponse *reply =
        call_new(call, &daybook__gateway__v1__cancel_import_response__descriptor);
    const char *const params[] = { call_tenant_text(call), req->id };

    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = need_import(call, req->id, &reply->import);
    if (!e)
        e = record_find(call->db, &sql_import_cancel, params,
                        &daybook__gateway__v1__import__descriptor, call->arena, &reply->import);
    if (e)
        return e;
    call_wake(call, WAKE_TRANSFERS, "", 0);
    *reply_out = &reply->base;
    return ERR_OK;
}

/* --- table -------------------------------------------------------------------------------------- */

static const struct check id_checks[] = { { "id", CHECK_REQUIRED | CHECK_ID, 0, 0 },
                                          { NULL, 0, 0, 0 } };

#define METHOD(m, h, s, c)                                                                         \
    {                                                                                              \
        .service = "daybook.gateway.v1.ImportService", .name = (m), .handler = (h), .scope = (s),  \
        .checks = (c),                                                                             \
    }

const struct method import_methods[] = {
    METHOD("GetImport", import_get, "customers.read", id_checks),
    METHOD("ListImports", import_list, "customers.read", NULL),
    METHOD("CancelImport", import_cancel, "customers.write", id_checks),
};
const size_t import_methods_len = ARRAY_LEN(import_methods);
