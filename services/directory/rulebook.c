/*
 * rulebook.c - the rule book: settings with scope and date (GOV-01, REM-20).
 *
 * A setting is never changed or deleted; a new value is a new setting from a moment on. Reading
 * goes to the tables and not to the snapshot, so whoever set a value sees it at once.
 */
#include "services/directory/service.h"

#include "services/directory/sql.h"

#define HISTORY_MAX "1000"

/* --- keys ------------------------------------------------------------------------------------- */

static enum err need_key(struct call *call, const char *key, const struct policy_def **def_out)
{
    *def_out = policy_find(key);
    if (*def_out)
        return ERR_OK;
    return call_fail(call, ERR_NOT_FOUND, "key", "the rule book has no key %s", key);
}

static enum err bound(struct call *call, const struct policy_def *def, double number, char **out)
{
    if (def->min == 0 && def->max == 0)
        return ERR_OK;
    *out = arena_printf(call->arena, "%.15g", number);
    return *out ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
}

/* The key with its default as value. */
static enum err describe(struct call *call, const struct policy_def *def, PbPolicyKey **key_out)
{
    PbPolicyKey *k = call_new(call, &daybook__directory__v1__policy_key__descriptor);
    if (!k)
        return ERR_RESOURCE_EXHAUSTED;
    k->key = arena_strdup(call->arena, def->key);
    k->description = arena_strdup(call->arena, def->description);
    k->type = arena_strdup(call->arena, policy_type_name(def->type));
    k->default_value = arena_strdup(call->arena, def->default_value);
    k->provenance = arena_strdup(call->arena, "default");
    k->value = k->default_value;
    if (!k->key || !k->description || !k->type || !k->default_value || !k->provenance)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = bound(call, def, def->min, &k->minimum);
    if (!e)
        e = bound(call, def, def->max, &k->maximum);
    *key_out = k;
    return e;
}

/* --- values in force -------------------------------------------------------------------------- */

static enum err read_in_force(struct call *call, const char *key, const char *unit_id,
                              int64_t at_us, PGresult **res_out)
{
    const char *params[] = { call_tenant_text(call), key, *unit_id ? unit_id : NULL,
                             db_text_time(call->arena, at_us) };

    if (!params[3])
        return ERR_RESOURCE_EXHAUSTED;
    return db_exec(call->db, &sql_policy_in_force, params, res_out);
}

/* Puts the value of the row with that key, if there is one, in place of the default. */
static enum err put_in_force(struct call *call, const PGresult *res, const struct policy_def *def,
                             PbPolicyKey *k)
{
    for (int i = 0; i < PQntuples(res); i++) {
        struct db_row row = { .res = res, .row = i };
        const char *key = db_row_text(&row, "key");
        if (!key || strcmp(key, def->key) != 0)
            continue;
        char scope[ID_TEXT_MAX + 8];
        struct policy_value v = { .def = def };
        if (!db_row_is_null(&row, "unit_id"))
            v.unit = db_row_id(&row, "unit_id");
        k->value = arena_strdup(call->arena, db_row_text(&row, "value"));
        k->provenance = arena_strdup(call->arena, policy_provenance(v, scope, sizeof(scope)));
        if (row.bad)
            return ERR_INTERNAL;
        return k->value && k->provenance ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
    }
    return ERR_OK;
}

enum err rulebook_get(struct call *call, const ProtobufCMessage *request,
                      ProtobufCMessage **reply_out)
{
    const Daybook__Directory__V1__GetPolicyRequest *req = (const void *)request;
    Daybook__Directory__V1__GetPolicyResponse *reply =
        call_new(call, &daybook__directory__v1__get_policy_response__descriptor);
    const struct policy_def *def;
    CLEANUP(db_result_clear) PGresult *res = NULL;

    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = need_key(call, req->key, &def);
    if (!e)
        e = directory_need_unit(call, req->unit_id, "unit_id");
    if (!e)
        e = read_in_force(call, req->key, req->unit_id,
                          req->at ? wire_time_us(req->at) : call->now_us, &res);
    if (!e)
        e = describe(call, def, &reply->policy);
    if (!e)
        e = put_in_force(call, res, def, reply->policy);
    if (e)
        return e;
    *reply_out = &reply->base;
    return ERR_OK;
}

enum err rulebook_list(struct call *call, const ProtobufCMessage *request,
                       ProtobufCMessage **reply_out)
{
    const Daybook__Directory__V1__ListPoliciesRequest *req = (const void *)request;
    Daybook__Directory__V1__ListPoliciesResponse *reply =
        call_new(call, &daybook__directory__v1__list_policies_response__descriptor);
    CLEANUP(db_result_clear) PGresult *res = NULL;
    size_t n;
    const struct policy_def *defs = policy_all(&n);

    if (!reply || !(reply->policies = arena_array(call->arena, n, sizeof(*reply->policies))))
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = directory_need_unit(call, req->unit_id, "unit_id");
    if (!e)
        e = read_in_force(call, NULL, req->unit_id, call->now_us, &res);
    for (size_t i = 0; !e && i < n; i++) {
        e = describe(call, &defs[i], &reply->policies[i]);
        if (!e)
            e = put_in_force(call, res, &defs[i], reply->policies[i]);
    }
    if (e)
        return e;
    reply->n_policies = n;
    *reply_out = &reply->base;
    return ERR_OK;
}

/* --- setting ---------------------------------------------------------------------------------- */

static const struct constraint_words words[] = {
    { "policy_setting_unit", ERR_NOT_FOUND, "unit_id", "there is no such unit" },
    { "policy_key_tenant", ERR_NOT_FOUND, "", "there is no such company" },
    { NULL, ERR_OK, NULL, NULL },
};

/* A working day must have hours: rules count them. */
static void check_workday(struct call *call, const struct policy_def *def,
                          const Daybook__Directory__V1__SetPolicyRequest *req)
{
    bool start = strcmp(def->key, "workday_start") == 0;
    struct id unit = { 0 };

    if ((!start && strcmp(def->key, "workday_end") != 0) || !call->dir)
        return;
    if (*req->unit_id && !id_parse(req->unit_id, &unit))
        return; /* said elsewhere */
    int64_t at_us = req->effective_from ? wire_time_us(req->effective_from) : call->now_us;
    struct policy_value other = directory_policy(call->dir, call->tenant, unit,
                                                 start ? "workday_end" : "workday_start", at_us);
    struct policy_value mine = { .def = def, .text = req->value };
    int a = policy_minute(mine, 0, 24 * 60), b = policy_minute(other, 0, 24 * 60);

    if (start ? a >= b : b >= a)
        call_violation(call, "value", "the working day must begin before it ends; %s is %s",
                       other.def->key, other.text);
}

/* A step for a role that nobody has would be told to nobody. */
static void check_roles(struct call *call, const struct policy_def *def,
                        const Daybook__Directory__V1__SetPolicyRequest *req)
{
    static const struct id company;
    int64_t at_us = req->effective_from ? wire_time_us(req->effective_from) : call->now_us;
    char unknown[POLICY_WORD_MAX];
    const char *extra =
        call->dir ? directory_policy(call->dir, call->tenant, company, "extra_roles", at_us).text
                  : "";

    if (!policy_roles_are_known(def, req->value, extra, unknown))
        call_violation(call, "value",
                       "there is no role %s; roles of the company's own stand in the policy "
                       "extra_roles first",
                       unknown);
}

static enum err check_setting(struct call *call, const struct policy_def *def,
                              const Daybook__Directory__V1__SetPolicyRequest *req)
{
    const char *expected;

    if (!policy_accepts(def, req->value, &expected)) {
        call_violation(call, "value", "%s needs %s", def->key, expected);
    } else {
        check_workday(call, def, req);
        check_roles(call, def, req);
    }
    enum err e = call_violations(call);
    if (e)
        return e;
    if (req->effective_from && wire_time_us(req->effective_from) < call->now_us)
        return call_fail(call, ERR_FAILED_PRECONDITION, "effective_from",
                         "a rule cannot be changed for the past; leave it out for now");
    return ERR_OK;
}

static enum err make_setting(struct call *call, const Daybook__Directory__V1__SetPolicyRequest *req,
                             PbPolicySetting **setting_out)
{
    PbPolicySetting *s = call_new(call, &daybook__directory__v1__policy_setting__descriptor);
    char *actor = db_text_id(call->arena, call->actor);

    if (!s || !actor)
        return ERR_RESOURCE_EXHAUSTED;
    s->key = req->key;
    s->value = req->value;
    s->unit_id = req->unit_id;
    s->reason = req->reason;
    s->set_by = actor;
    s->set_at = wire_time(call->arena, call->now_us);
    s->effective_from = req->effective_from ? req->effective_from : s->set_at;
    if (!s->set_at)
        return ERR_RESOURCE_EXHAUSTED;
    *setting_out = s;
    return directory_normalise(call, &s->unit_id);
}

/* The lock of the key's row orders the settings of a key. */
static enum err raise_key(struct call *call, const char *key, int64_t *version_out)
{
    const char *params[] = { call_tenant_text(call), key };
    CLEANUP(db_result_clear) PGresult *res = NULL;

    enum err e = db_exec(call->db, &sql_policy_key_raise, params, &res);
    if (e)
        return directory_explain(call, e, words);
    struct db_row row = { .res = res };
    *version_out = db_row_i64(&row, "version");
    return row.bad ? ERR_INTERNAL : ERR_OK;
}

static enum err store_setting(struct call *call, PbPolicySetting *s, int64_t version)
{
    const struct record_extra extras[] = { { "tenant_id", call_tenant_text(call) },
                                           { "version", db_text_i64(call->arena, version) } };
    const char *const *params;
    CLEANUP(db_result_clear) PGresult *res = NULL;

    enum err e =
        record_bind(&sql_policy_insert, &s->base, extras, ARRAY_LEN(extras), call->arena, &params);
    if (e)
        return e;
    e = db_exec(call->db, &sql_policy_insert, params, &res);
    return e ? directory_explain(call, e, words) : ERR_OK;
}

static enum err write_setting(struct call *call, PbPolicySetting *s)
{
    Daybook__Directory__V1__PolicySet event = DAYBOOK__DIRECTORY__V1__POLICY_SET__INIT;
    int64_t version = 0;

    enum err e = directory_lock(call);
    if (!e)
        e = raise_key(call, s->key, &version);
    if (!e)
        e = store_setting(call, s, version);
    if (e)
        return e;
    event.setting = s;
    e = call_emit(call, "policies", s->key, version, &event.base);
    return e ? e : directory_changed(call);
}

enum err rulebook_set(struct call *call, const ProtobufCMessage *request,
                      ProtobufCMessage **reply_out)
{
    const Daybook__Directory__V1__SetPolicyRequest *req = (const void *)request;
    Daybook__Directory__V1__SetPolicyResponse *reply =
        call_new(call, &daybook__directory__v1__set_policy_response__descriptor);
    const struct policy_def *def;

    enum err e = directory_need_right(call, RIGHT_POLICIES);
    if (e)
        return e;
    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    e = need_key(call, req->key, &def);
    if (!e)
        e = check_setting(call, def, req);
    if (!e)
        e = make_setting(call, req, &reply->setting);
    if (!e)
        e = write_setting(call, reply->setting);
    if (e)
        return e;
    *reply_out = &reply->base;
    return ERR_OK;
}

enum err rulebook_history(struct call *call, const ProtobufCMessage *request,
                          ProtobufCMessage **reply_out)
{
    const Daybook__Directory__V1__PolicyHistoryRequest *req = (const void *)request;
    Daybook__Directory__V1__PolicyHistoryResponse *reply =
        call_new(call, &daybook__directory__v1__policy_history_response__descriptor);
    const char *params[] = { call_tenant_text(call), req->key, HISTORY_MAX };
    const struct policy_def *def;
    CLEANUP(db_result_clear) PGresult *res = NULL;

    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = need_key(call, req->key, &def);
    if (!e)
        e = db_exec(call->db, &sql_policy_history, params, &res);
    if (!e)
        e = record_read_all(res, &daybook__directory__v1__policy_setting__descriptor, call->arena,
                            &reply->n_settings, &reply->settings);
    if (e)
        return e;
    *reply_out = &reply->base;
    return ERR_OK;
}
