/*
 * export_service.c - the handlers for exports (SEC-01): who asks for one, who approves it. What comes
 * of it is transfer_export.c's.
 *
 * Bulk exports are how customer files leave a company, so employees get none by themselves: each needs
 * the approval of another person, by name, and the log keeps request, reason, approval and download.
 */
#include "common/authority.h"
#include "common/call_page.h"
#include "services/gateway/sql.h"
#include "services/gateway/transfer/transfer.h"
#include "services/gateway/transfer/transfer_columns.h"

#define TIER_MAX 4

static enum err emit(struct call *call, const PbExport *export, const ProtobufCMessage *event)
{
    return call_emit(call, "exports", export->id, strtoll(export->etag, NULL, 10), event);
}

static enum err need_export(struct call *call, const char *id, bool lock, PbExport **out)
{
    const char *const params[] = { call_tenant_text(call), id };
    struct id owner;

    enum err e = record_find(call->db, lock ? &sql_export_lock : &sql_export_find, params,
                             &daybook__gateway__v1__export__descriptor, call->arena, out);
    if (e && e != ERR_NOT_FOUND)
        return e;
    bool hidden = !e && (!id_parse((*out)->created_by, &owner) || !authority_sees(call, owner));
    if (hidden)
        call_out_of_sight(call);
    if (e || hidden)
        return call_fail(call, ERR_NOT_FOUND, "id", "there is no export %s", id);
    return ERR_OK;
}

/* --- asking for one ----------------------------------------------------------------------------- */

static enum err judge(struct call *call, const PbExport *wanted)
{
    struct transfer_columns columns;
    char field[64];
    size_t bad;

    if (strcmp(wanted->collection, "customers") != 0)
        call_violation(call, "export.collection", "must be customers");
    if (wanted->filter && (wanted->filter->tier < 0 || wanted->filter->tier > TIER_MAX))
        call_violation(call, "export.filter.tier", "must be 0 to %d", TIER_MAX);
    if (!transfer_columns_choose((const char *const *)wanted->fields, wanted->n_fields, &columns,
                                 &bad)) {
        snprintf(field, sizeof(field), "export.fields[%zu]", bad);
        call_violation(call, field, "is no column of an export, or stands there twice");
    }
    return call_violations(call);
}

/* The text of the caller as the work will ask. NULL: no memory. */
static const char *principal_text(struct call *call)
{
    uint8_t *data = NULL;
    size_t len = 0;

    if (wire_pack(&call->context->principal->base, call->arena, &data, &len))
        return NULL;
    return db_text_bytes(call->arena, data, len);
}

static enum err insert(struct call *call, PbExport *wanted, PbExport **out)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    const char *const *params;
    const struct record_extra extras[] = {
        { "tenant_id", call_tenant_text(call) },
        { "id", db_text_id(call->arena, id_new()) },
        { "state", call->employee ? "awaiting_approval" : "pending" },
        { "principal", principal_text(call) },
        { "created_by", call_actor_text(call) },
        { "created_at", db_text_time(call->arena, call->now_us) },
        { "expires_at", db_text_time(call->arena, call->now_us + TRANSFER_KEEP_US) },
        { "remote_address", call->context->remote_address },
    };

    for (size_t i = 0; i < ARRAY_LEN(extras); i++)
        if (!extras[i].value)
            return ERR_RESOURCE_EXHAUSTED;
    if (wanted->format == TRANSFER_FORMAT(UNSPECIFIED))
        wanted->format = TRANSFER_FORMAT(CSV);
    enum err e = record_bind(&sql_export_insert, &wanted->base, extras, ARRAY_LEN(extras),
                             call->arena, &params);
    if (!e)
        e = db_exec(call->db, &sql_export_insert, params, &res);
    return e ? e : record_read(res, 0, &daybook__gateway__v1__export__descriptor, call->arena, out);
}

static enum err begin_work(struct call *call, const PbExport *export)
{
    const char *const params[] = { call_tenant_text(call), export->id, "export",
                                   TRANSFER_WAITING_MAX };
    CLEANUP(db_result_clear) PGresult *res = NULL;

    enum err e = db_exec(call->db, &sql_work_insert, params, &res);
    if (!e && !PQntuples(res))
        e = call_fail(call, ERR_RESOURCE_EXHAUSTED, "",
                      "%s imports and exports of the company wait already: try again later",
                      TRANSFER_WAITING_MAX);
    if (!e)
        call_wake(call, WAKE_TRANSFERS, "", 0);
    return e;
}

enum err export_create(struct call *call, const ProtobufCMessage *in, ProtobufCMessage **reply_out)
{
    const Daybook__Gateway__V1__CreateExportRequest *req = (const void *)in;
    Daybook__Gateway__V1__CreateExportResponse *reply =
        call_new(call, &daybook__gateway__v1__create_export_response__descriptor);
    Daybook__Gateway__V1__ExportRequested event = DAYBOOK__GATEWAY__V1__EXPORT_REQUESTED__INIT;
    PbExport *wanted = wire_clone(&req->export->base, call->arena);

    if (!reply || !wanted)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = judge(call, wanted);
    if (!e)
        e = insert(call, wanted, &reply->export);
    if (!e && reply->export->state == TRANSFER_STATE(PENDING))
        e = begin_work(call, reply->export);
    if (e)
        return e;
    event.export = reply->export;
    *reply_out = &reply->base;
    return emit(call, reply->export, &event.base);
}

/* --- approving ---------------------------------------------------------------------------------- */

/* Another person, by name: no machine, and not whoever asked. */
static enum err need_approver(struct call *call, const PbExport *export)
{
    static const char *const roles[] = { "general_manager", NULL };

    if (!call->employee)
        return call_reason(call,
                           call_fail(call, ERR_PERMISSION_DENIED, "",
                                     "an export is approved by a person, a general_manager"),
                           "ROLE_REQUIRED");
    if (strcmp(call_actor_text(call), export->created_by) == 0)
        return call_reason(call,
                           call_fail(call, ERR_PERMISSION_DENIED, "id",
                                     "another person must approve what you have asked for"),
                           "OWN_REQUEST");
    return authority_need_role(call, roles, "approve exports");
}

enum err export_approve(struct call *call, const ProtobufCMessage *in, ProtobufCMessage **reply_out)
{
    const Daybook__Gateway__V1__ApproveExportRequest *req = (const void *)in;
    Daybook__Gateway__V1__ApproveExportResponse *reply =
        call_new(call, &daybook__gateway__v1__approve_export_response__descriptor);
    Daybook__Gateway__V1__ExportApproved event = DAYBOOK__GATEWAY__V1__EXPORT_APPROVED__INIT;
    const char *const params[] = {
        call_tenant_text(call),
        req->id,
        call_actor_text(call),
        db_text_time(call->arena, call->now_us),
        db_text_time(call->arena, call->now_us + TRANSFER_KEEP_US),
    };

    if (!reply || !params[3] || !params[4])
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = need_export(call, req->id, true, &reply->export);
    if (!e)
        e = need_approver(call, reply->export);
    if (!e && reply->export->state != TRANSFER_STATE(AWAITING_APPROVAL))
        e = call_fail(call, ERR_FAILED_PRECONDITION, "id",
                      "the export does not wait for an approval");
    if (!e && wire_time_us(reply->export->expires_at) <= call->now_us)
        e = call_fail(call, ERR_FAILED_PRECONDITION, "id",
                      "the request has expired: it must be made again");
    if (!e)
        e = record_find(call->db, &sql_export_approve, params,
                        &daybook__gateway__v1__export__descriptor, call->arena, &reply->export);
    if (!e)
        e = begin_work(call, reply->export);
    if (e)
        return e;
    event.export = reply->export;
    *reply_out = &reply->base;
    return emit(call, reply->export, &event.base);
}

/* --- looking, and stopping ---------------------------------------------------------------------- */

enum err export_get(struct call *call, const ProtobufCMessage *in, ProtobufCMessage **reply_out)
{
    const Daybook__Gateway__V1__GetExportRequest *req = (const void *)in;
    Daybook__Gateway__V1__GetExportResponse *reply =
        call_new(call, &daybook__gateway__v1__get_export_response__descriptor);

    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = need_export(call, req->id, false, &reply->export);
    if (e)
        return e;
    transfer_hint_poll(call, (int)reply->export->state);
    *reply_out = &reply->base;
    return ERR_OK;
}

enum err export_list(struct call *call, const ProtobufCMessage *in, ProtobufCMessage **reply_out)
{
    const Daybook__Gateway__V1__ListExportsRequest *req = (const void *)in;
    Daybook__Gateway__V1__ListExportsResponse *reply =
        call_new(call, &daybook__gateway__v1__list_exports_response__descriptor);
    CLEANUP(db_result_clear) PGresult *res = NULL;
    struct call_page page = { .filter = "exports" };

    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = call_page_begin(call, req->page_size, req->page_token, &page);
    if (e)
        return e;
    const char *const params[] = { call_tenant_text(call), authority_visible_owners(call),
                                   page.keys[0], page.limit };
    e = db_exec(call->db, &sql_export_list, params, &res);
    if (!e)
        e = record_read_all(res, &daybook__gateway__v1__export__descriptor, call->arena,
                            &reply->n_exports, &reply->exports);
    if (e)
        return e;
    reply->n_exports = call_page_rows(&page, reply->n_exports);
    if (page.more) {
        const char *const keys[] = { reply->exports[reply->n_exports - 1]->id, NULL };
        e = call_page_end(call, &page, keys, &reply->next_page_token);
    }
    *reply_out = &reply->base;
    return e;
}

static bool has_ended(const PbExport *export)
{
    return export->state == TRANSFER_STATE(DONE) || export->state == TRANSFER_STATE(FAILED) ||
           export->state == TRANSFER_STATE(CANCELLED);
}

enum err export_cancel(struct call *call, const ProtobufCMessage *in, ProtobufCMessage **reply_out)
{
    const Daybook__Gateway__V1__CancelExportRequest *req = (const void *)in;
    Daybook__Gateway__V1__CancelExportResponse *reply =
        call_new(call, &daybook__gateway__v1__cancel_export_response__descriptor);
    Daybook__Gateway__V1__ExportFinished event = DAYBOOK__GATEWAY__V1__EXPORT_FINISHED__INIT;
    const char *const params[] = { call_tenant_text(call), req->id,
                                   db_text_time(call->arena, call->now_us) };

    if (!reply || !params[2])
        return ERR_RESOURCE_EXHAUSTED;
    *reply_out = &reply->base;
    enum err e = need_export(call, req->id, true, &reply->export);
    if (e || has_ended(reply->export))
        return e;
    e = record_find(call->db, &sql_export_cancel, params, &daybook__gateway__v1__export__descriptor,
                    call->arena, &reply->export);
    if (e)
        return e;
    call_wake(call, WAKE_TRANSFERS, "", 0);
    event.export = reply->export;
    return has_ended(reply->export) ? emit(call, reply->export, &event.base) : ERR_OK;
}

/* --- table -------------------------------------------------------------------------------------- */

#define END                                                                                        \
    {                                                                                              \
        NULL, 0, 0, 0                                                                              \
    }

static const struct check create_checks[] = {
    { "export", CHECK_REQUIRED, 0, 0 },
    { "export.collection", CHECK_REQUIRED | CHECK_LENGTH, 1, 32 },
    { "export.format", CHECK_ENUM, 0, 0 },
    { "export.filter.owner_id", CHECK_ID, 0, 0 },
    { "export.fields", CHECK_COUNT, 0, TRANSFER_COLUMNS_MAX },
    { "export.fields[]", CHECK_REQUIRED | CHECK_LENGTH, 1, 64 },
    { "export.reason", CHECK_REQUIRED | CHECK_LENGTH, 5, 500 },
    END,
};
static const struct check id_checks[] = { { "id", CHECK_REQUIRED | CHECK_ID, 0, 0 }, END };

#define METHOD(m, h, c)                                                                            \
    {                                                                                              \
        .service = "daybook.gateway.v1.ExportService", .name = (m), .handler = (h),                \
        .scope = "customers.export", .checks = (c),                                                \
    }

const struct method export_methods[] = {
    METHOD("CreateExport", export_create, create_checks),
    METHOD("ApproveExport", export_approve, id_checks),
    METHOD("GetExport", export_get, id_checks),
    METHOD("ListExports", export_list, NULL),
    METHOD("CancelExport", export_cancel, id_checks),
};
const size_t export_methods_len = ARRAY_LEN(export_methods);
