/*
 * tenant.c - companies.
 *
 * Making one is the only command that begins without a company: its rows belong to the new one, so
 * the transaction's tenant is changed for them and put back for the record of the command, which is
 * the caller's.
 */
#include "services/directory/service.h"

#include "services/directory/sql.h"

static enum err check_tenant(struct call *call, const PbTenant *tenant)
{
    const char *reason;

    if (!policy_accepts(policy_find("timezone"), tenant->time_zone, &reason))
        call_violation(call, "tenant.time_zone", "must be %s", reason);
    return call_violations(call);
}

static enum err fill(struct call *call, PbTenant *tenant)
{
    char *zone = arena_strdup(call->arena, policy_find("timezone")->default_value);
    char *currency = arena_strdup(call->arena, policy_find("money_currency")->default_value);

    tenant->id = directory_id(call, tenant->id);
    tenant->etag = directory_etag(call, 1);
    if (!*tenant->time_zone)
        tenant->time_zone = zone;
    if (!*tenant->currency_code)
        tenant->currency_code = currency;
    return tenant->id && tenant->etag && zone && currency ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
}

static enum err insert(struct call *call, const PbTenant *tenant)
{
    static const struct constraint_words words[] = {
        { "tenant_pkey", ERR_ALREADY_EXISTS, "tenant.id", "a company with this id exists" },
        { NULL, ERR_OK, NULL, NULL },
    };
    const char *params[] = { tenant->id, tenant->name, tenant->time_zone, tenant->currency_code };
    CLEANUP(db_result_clear) PGresult *res = NULL;

    enum err e = db_exec(call->db, &sql_tenant_insert, params, &res);
    return e ? directory_explain(call, e, words) : ERR_OK;
}

static enum err create_within(struct call *call, PbTenant *tenant)
{
    Daybook__Directory__V1__TenantCreated event = DAYBOOK__DIRECTORY__V1__TENANT_CREATED__INIT;

    enum err e = db_set_tenant(call->db, call->tenant);
    if (e)
        return e;
    e = insert(call, tenant);
    if (e)
        return e;
    event.tenant = tenant;
    e = call_emit(call, "tenants", tenant->id, 1, &event.base);
    return e ? e : directory_changed(call);
}

enum err tenant_create(struct call *call, const ProtobufCMessage *request,
                       ProtobufCMessage **reply_out)
{
    const Daybook__Directory__V1__CreateTenantRequest *req = (const void *)request;
    Daybook__Directory__V1__CreateTenantResponse *reply =
        call_new(call, &daybook__directory__v1__create_tenant_response__descriptor);
    PbTenant *tenant = wire_clone(&req->tenant->base, call->arena);
    struct id callers = call->tenant;

    if (!authority_is_system(call))
        return call_fail(call, ERR_PERMISSION_DENIED, "", "only system accounts make companies");
    if (!reply || !tenant)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = fill(call, tenant);
    if (!e)
        e = check_tenant(call, tenant);
    if (!e && !id_parse(tenant->id, &call->tenant))
        e = ERR_INTERNAL;
    if (!e)
        e = create_within(call, tenant);
    call->tenant = callers;
    if (!e)
        e = db_set_tenant(call->db, callers);
    if (e)
        return e;
    reply->tenant = tenant;
    *reply_out = &reply->base;
    return ERR_OK;
}
