/*
 * unit.c - regions, departments, teams (ORG-03, ORG-04).
 */
#include "services/directory/service.h"

#include "services/directory/employee_rules.h"
#include "services/directory/sql.h"

#define UNITS_MAX "10000"

static const struct constraint_words insert_words[] = {
    { "unit_pkey", ERR_ALREADY_EXISTS, "unit.id", "a unit with this id exists" },
    { "unit_code", ERR_ALREADY_EXISTS, "unit.code", "another unit has this code; choose another" },
    { "unit_parent", ERR_FAILED_PRECONDITION, "unit.parent_id", "there is no such unit" },
    { "unit_own_parent", ERR_FAILED_PRECONDITION, "unit.parent_id",
      "a unit cannot stand below itself" },
    { NULL, ERR_OK, NULL, NULL },
};

static bool is_code(const char *text)
{
    size_t len = strlen(text);
    return len >= 1 && len <= 32 && strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == len;
}

static enum err check_unit(struct call *call, const PbUnit *unit)
{
    if (!is_code(unit->code))
        call_violation(call, "unit.code", "1 to 32 of A-Z, 0-9, _ and -");
    if (!employee_rules_city_ok(unit->city_code))
        call_violation(call, "unit.city_code", "6 digits or empty");
    return call_violations(call);
}

static enum err insert(struct call *call, const PbUnit *unit)
{
    const struct record_extra extras[] = { { "tenant_id", call_tenant_text(call) } };
    const char *const *params;
    CLEANUP(db_result_clear) PGresult *res = NULL;

    enum err e =
        record_bind(&sql_unit_insert, &unit->base, extras, ARRAY_LEN(extras), call->arena, &params);
    if (e)
        return e;
    e = db_exec(call->db, &sql_unit_insert, params, &res);
    return e ? directory_explain(call, e, insert_words) : ERR_OK;
}

static enum err emit_created(struct call *call, PbUnit *unit)
{
    Daybook__Directory__V1__UnitCreated event = DAYBOOK__DIRECTORY__V1__UNIT_CREATED__INIT;

    event.unit = unit;
    return call_emit(call, "units", unit->id, 1, &event.base);
}

enum err unit_create(struct call *call, const ProtobufCMessage *request,
                     ProtobufCMessage **reply_out)
{
    const Daybook__Directory__V1__CreateUnitRequest *req = (const void *)request;
    Daybook__Directory__V1__CreateUnitResponse *reply =
        call_new(call, &daybook__directory__v1__create_unit_response__descriptor);
    PbUnit *unit = wire_clone(&req->unit->base, call->arena);

    enum err e = directory_need_right(call, RIGHT_PEOPLE);
    if (e)
        return e;
    if (!reply || !unit)
        return ERR_RESOURCE_EXHAUSTED;
    e = check_unit(call, unit);
    if (e)
        return e;
    unit->id = directory_id(call, unit->id);
    unit->etag = directory_etag(call, 1);
    if (!unit->id || !unit->etag)
        return ERR_RESOURCE_EXHAUSTED;

    e = directory_normalise(call, &unit->parent_id);
    if (!e)
        e = directory_lock(call);
    if (!e)
        e = insert(call, unit);
    if (!e)
        e = emit_created(call, unit);
    if (!e)
        e = directory_changed(call);
    if (e)
        return e;
    reply->unit = unit;
    *reply_out = &reply->base;
    return ERR_OK;
}

enum err unit_list(struct call *call, const ProtobufCMessage *request, ProtobufCMessage **reply_out)
{
    Daybook__Directory__V1__ListUnitsResponse *reply =
        call_new(call, &daybook__directory__v1__list_units_response__descriptor);
    const char *params[] = { call_tenant_text(call), UNITS_MAX };
    CLEANUP(db_result_clear) PGresult *res = NULL;

    (void)request;
    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = db_exec(call->db, &sql_unit_list, params, &res);
    if (!e)
        e = record_read_all(res, &daybook__directory__v1__unit__descriptor, call->arena,
                            &reply->n_units, &reply->units);
    if (e)
        return e;
    *reply_out = &reply->base;
    return ERR_OK;
}
