/*
 * credential.c - keys by which people and systems prove who they are (operations 8, Identity).
 *
 * Of an API key and of a calendar feed only a keyed hash is kept; the secret stands in one answer. A
 * feed's address is all that a calendar program can send (protocols E), so it is a credential that
 * ends as the others do, and its scope lets it do nothing but read visits. A CURVE key is public:
 * the bus admits it as soon as its snapshot of the directory has it, and refuses it as soon as it
 * is gone from there.
 */
#include "services/directory/service.h"

#include "common/call_page.h"
#include "common/http_address.h"
#include "common/sbuf.h"
#include "common/secret.h"
#include "services/directory/credential_rules.h"
#include "services/directory/sql.h"

#define SECRET_BYTES 32
#define KIND_API_KEY DAYBOOK__DIRECTORY__V1__CREDENTIAL_KIND__CREDENTIAL_KIND_API_KEY
#define KIND_CURVE DAYBOOK__DIRECTORY__V1__CREDENTIAL_KIND__CREDENTIAL_KIND_CURVE
#define KIND_CALENDAR DAYBOOK__DIRECTORY__V1__CREDENTIAL_KIND__CREDENTIAL_KIND_CALENDAR

static const struct constraint_words words[] = {
    { "credential_curve_key", ERR_ALREADY_EXISTS, "curve_public_key",
      "this key is registered; make a new pair" },
    { "credential_tenant", ERR_NOT_FOUND, "", "there is no such company" },
    { NULL, ERR_OK, NULL, NULL },
};

/* What the ways of making one have in common. */
struct wish {
    int kind;
    const char *employee_id;
    char *label;
    size_t n_scopes;
    char **scopes;
    const Google__Protobuf__Timestamp *expires_at;
    const char *curve_public_key; /* NULL: another kind */
    size_t n_networks;            /* of an API key */
    char **networks;
};

static void refuse_element(struct call *call, const char *list, size_t i, const char *text)
{
    char field[64];

    snprintf(field, sizeof(field), "%s[%zu]", list, i);
    call_violation(call, field, "%s", text);
}

static enum err check_wish(struct call *call, const struct wish *w)
{
    const char *scope;

    for (size_t i = 0; i < w->n_scopes; i++)
        if (!authority_scope_ok(w->scopes[i]))
            refuse_element(call, "scopes", i, "a scope looks like customers.write");
    for (size_t i = 0; i < w->n_networks; i++)
        if (!http_network_ok(w->networks[i]))
            refuse_element(call, "allowed_networks", i,
                           "a network looks like 10.1.0.0/16 or 2001:db8::/32");
    if (w->curve_public_key && !credential_rules_z85_ok(w->curve_public_key))
        call_violation(call, "curve_public_key", "32 bytes in Z85, 40 characters");
    enum err e = call_violations(call);
    if (e)
        return e;
    if (w->expires_at && wire_time_us(w->expires_at) <= call->now_us)
        return call_fail(call, ERR_FAILED_PRECONDITION, "expires_at", "must lie ahead");
    if (!credential_rules_may_grant(call->context->principal, w->scopes, w->n_scopes, &scope))
        return call_fail(call, ERR_PERMISSION_DENIED, "scopes",
                         "you cannot give the scope %s, which you do not have", scope);
    return ERR_OK;
}

/* Of the company, still there, and one as whom the caller may let somebody act. */
static enum err need_employee(struct call *call, const struct wish *w)
{
    const char *params[] = { call_tenant_text(call), w->employee_id, NULL };
    PbEmployee *employee = NULL;
    const char *text;

    if (!*w->employee_id)
        return ERR_OK;
    enum err e = record_find(call->db, &sql_employee_find, params,
                             &daybook__directory__v1__employee__descriptor, call->arena, &employee);
    if (e == ERR_NOT_FOUND)
        return call_fail(call, e, "employee_id", "there is no such employee");
    if (!e && !employee->active)
        return call_fail(call, ERR_FAILED_PRECONDITION, "employee_id", "this employee has left");
    if (!e && !credential_rules_may_stand_for(call->context->principal, call->employee, employee,
                                              w->n_scopes, &text))
        return call_fail(call, ERR_PERMISSION_DENIED, "employee_id", "%s", text);
    return e;
}

static enum err make(struct call *call, const struct wish *w, PbCredential **credential_out)
{
    PbCredential *c = call_new(call, &daybook__directory__v1__credential__descriptor);
    if (!c)
        return ERR_RESOURCE_EXHAUSTED;
    c->id = directory_id(call, "");
    c->actor_id = directory_id(call, w->employee_id); /* a new service account when empty */
    c->kind = (Daybook__Directory__V1__CredentialKind)w->kind;
    c->label = w->label;
    c->n_scopes = w->n_scopes;
    c->scopes = w->scopes;
    c->n_allowed_networks = w->n_networks;
    c->allowed_networks = w->networks;
    if (w->curve_public_key)
        c->curve_public_key = arena_strdup(call->arena, w->curve_public_key);
    c->created_at = wire_time(call->arena, call->now_us);
    if (w->expires_at)
        c->expires_at = wire_time(call->arena, wire_time_us(w->expires_at));
    if (!c->id || !c->actor_id || !c->curve_public_key || !c->created_at ||
        (w->expires_at && !c->expires_at))
        return ERR_RESOURCE_EXHAUSTED;
    *credential_out = c;
    return ERR_OK;
}

static enum err insert(struct call *call, const PbCredential *c, bool is_employee,
                       const char *secret_hash)
{
    const struct record_extra extras[] = { { "tenant_id", call_tenant_text(call) },
                                           { "is_employee", is_employee ? "t" : "f" },
                                           { "secret_hash", secret_hash } };
    const char *const *params;
    CLEANUP(db_result_clear) PGresult *res = NULL;

    enum err e = record_bind(&sql_credential_insert, &c->base, extras, ARRAY_LEN(extras),
                             call->arena, &params);
    if (e)
        return e;
    e = db_exec(call->db, &sql_credential_insert, params, &res);
    return e ? directory_explain(call, e, words) : ERR_OK;
}

static enum err emit_created(struct call *call, PbCredential *c)
{
    Daybook__Directory__V1__CredentialCreated event =
        DAYBOOK__DIRECTORY__V1__CREDENTIAL_CREATED__INIT;

    event.credential = c;
    return call_emit(call, "credentials", c->id, 1, &event.base);
}

/* secret_hash: NULL for a CURVE key. */
static enum err create(struct call *call, const struct wish *w, const char *secret_hash,
                       PbCredential **credential_out)
{
    PbCredential *c = NULL;

    enum err e = directory_lock(call);
    if (!e)
        e = need_employee(call, w);
    if (!e)
        e = make(call, w, &c);
    if (!e)
        e = insert(call, c, *w->employee_id != '\0', secret_hash);
    if (!e)
        e = emit_created(call, c);
    if (!e)
        e = directory_changed(call);
    *credential_out = c;
    return e;
}

enum err credential_create_api_key(struct call *call, const ProtobufCMessage *request,
                                   ProtobufCMessage **reply_out)
{
    const Daybook__Directory__V1__CreateApiKeyRequest *req = (const void *)request;
    Daybook__Directory__V1__CreateApiKeyResponse *reply =
        call_new(call, &daybook__directory__v1__create_api_key_response__descriptor);
    struct wish w = { .kind = KIND_API_KEY,
                      .employee_id = req->employee_id,
                      .label = req->label,
                      .n_scopes = req->n_scopes,
                      .scopes = req->scopes,
                      .expires_at = req->expires_at,
                      .n_networks = req->n_allowed_networks,
                      .networks = req->allowed_networks };
    char hash[65];

    enum err e = directory_need_right(call, RIGHT_CREDENTIALS);
    if (!e)
        e = check_wish(call, &w);
    if (e)
        return e;
    char *secret = secret_random_text(call->arena, SECRET_BYTES);
    if (!reply || !secret)
        return ERR_RESOURCE_EXHAUSTED;
    call_withhold_reply(call); /* or else the secret would lie in the record of the command */
    if (!secret_hash_token(secret, hash))
        return ERR_INTERNAL;
    e = create(call, &w, hash, &reply->credential);
    if (e)
        return e;
    reply->api_key = arena_printf(call->arena, "dbk_%s_%s", reply->credential->id, secret);
    *reply_out = &reply->base;
    return reply->api_key ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
}

enum err credential_register_curve_key(struct call *call, const ProtobufCMessage *request,
                                       ProtobufCMessage **reply_out)
{
    const Daybook__Directory__V1__RegisterCurveKeyRequest *req = (const void *)request;
    Daybook__Directory__V1__RegisterCurveKeyResponse *reply =
        call_new(call, &daybook__directory__v1__register_curve_key_response__descriptor);
    struct wish w = { .kind = KIND_CURVE,
                      .employee_id = req->employee_id,
                      .label = req->label,
                      .n_scopes = req->n_scopes,
                      .scopes = req->scopes,
                      .expires_at = req->expires_at,
                      .curve_public_key = req->curve_public_key };

    enum err e = directory_need_right(call, RIGHT_CREDENTIALS);
    if (!e)
        e = check_wish(call, &w);
    if (e)
        return e;
    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    e = create(call, &w, NULL, &reply->credential);
    *reply_out = &reply->base;
    return e;
}

/* --- ending ----------------------------------------------------------------------------------- */

static const char *kind_name(int kind)
{
    return kind == KIND_CURVE ? "CURVE key" : kind == KIND_CALENDAR ? "calendar feed" : "API key";
}

static enum err read_locked(struct call *call, const PGresult *res, PbCredential **c_out,
                            int64_t *version_out)
{
    struct db_row row = { .res = res };

    *version_out = db_row_i64(&row, "_row_version");
    if (row.bad)
        return ERR_INTERNAL;
    return record_read(res, 0, &daybook__directory__v1__credential__descriptor, call->arena, c_out);
}

static bool is_his(struct call *call, const PbCredential *c)
{
    return directory_is_employee(call) && strcmp(c->actor_id, call_actor_text(call)) == 0;
}

/* A key of another kind counts as none: each is ended by its own method. */
static enum err lock_credential(struct call *call, const char *id, int kind, PbCredential **c_out,
                                int64_t *version_out)
{
    const char *params[] = { call_tenant_text(call), id };
    CLEANUP(db_result_clear) PGresult *res = NULL;

    enum err e = db_exec(call->db, &sql_credential_lock, params, &res);
    if (e)
        return e;
    if (PQntuples(res) > 0) {
        e = read_locked(call, res, c_out, version_out);
        if (e || ((int)(*c_out)->kind == kind &&
                  (directory_has_right(call, RIGHT_CREDENTIALS) || is_his(call, *c_out))))
            return e;
    }
    return call_fail(call, ERR_NOT_FOUND, "id", "there is no such %s", kind_name(kind));
}

/* Queued, without directory_changed(). */
static enum err write_revoked(struct call *call, PbCredential *c, int64_t version)
{
    Daybook__Directory__V1__CredentialRevoked event =
        DAYBOOK__DIRECTORY__V1__CREDENTIAL_REVOKED__INIT;
    const char *params[] = { call_tenant_text(call), c->id,
                             db_text_time(call->arena, call->now_us) };

    c->revoked_at = wire_time(call->arena, call->now_us);
    if (!params[2] || !c->revoked_at)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = db_queue(call->db, &sql_credential_revoke, params);
    if (e)
        return e;
    event.credential = c;
    return call_emit(call, "credentials", c->id, version + 1, &event.base);
}

static enum err revoke(struct call *call, const char *id, int kind, PbCredential **credential_out)
{
    int64_t version = 0;

    enum err e = kind == KIND_CALENDAR ? ERR_OK : directory_need_right(call, RIGHT_CREDENTIALS);
    if (!e)
        e = directory_lock(call);
    if (!e)
        e = lock_credential(call, id, kind, credential_out, &version);
    if (e || (*credential_out)->revoked_at) /* once ended it stays as it is */
        return e;
    e = write_revoked(call, *credential_out, version);
    return e ? e : directory_changed(call);
}

enum err credential_revoke_api_key(struct call *call, const ProtobufCMessage *request,
                                   ProtobufCMessage **reply_out)
{
    const Daybook__Directory__V1__RevokeApiKeyRequest *req = (const void *)request;
    Daybook__Directory__V1__RevokeApiKeyResponse *reply =
        call_new(call, &daybook__directory__v1__revoke_api_key_response__descriptor);

    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    *reply_out = &reply->base;
    return revoke(call, req->id, KIND_API_KEY, &reply->credential);
}

enum err credential_revoke_curve_key(struct call *call, const ProtobufCMessage *request,
                                     ProtobufCMessage **reply_out)
{
    const Daybook__Directory__V1__RevokeCurveKeyRequest *req = (const void *)request;
    Daybook__Directory__V1__RevokeCurveKeyResponse *reply =
        call_new(call, &daybook__directory__v1__revoke_curve_key_response__descriptor);

    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    *reply_out = &reply->base;
    return revoke(call, req->id, KIND_CURVE, &reply->credential);
}

enum err credential_revoke_calendar_feed(struct call *call, const ProtobufCMessage *request,
                                         ProtobufCMessage **reply_out)
{
    const Daybook__Directory__V1__RevokeCalendarFeedRequest *req = (const void *)request;
    Daybook__Directory__V1__RevokeCalendarFeedResponse *reply =
        call_new(call, &daybook__directory__v1__revoke_calendar_feed_response__descriptor);

    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    *reply_out = &reply->base;
    return revoke(call, req->id, KIND_CALENDAR, &reply->credential);
}

/* --- calendar feeds --------------------------------------------------------------------------- */

/* Whose feed it will be; for oneself it needs no right. */
static enum err choose_holder(struct call *call, const char *given, char **employee_id_out)
{
    bool is_person = directory_is_employee(call);
    char *id = (char *)(uintptr_t)(*given || !is_person ? given : call_actor_text(call));
    enum err e = directory_normalise(call, &id);

    if (e)
        return e;
    if (!*id)
        return call_fail(call, ERR_INVALID_ARGUMENT, "employee_id",
                         "say whose visits; the caller is not an employee");
    *employee_id_out = id;
    return is_person && strcmp(id, call_actor_text(call)) == 0
               ? ERR_OK
               : directory_need_right(call, RIGHT_CREDENTIALS);
}

/* The new one takes the place of the one that the employee has, if he has one. */
static enum err end_living_feed(struct call *call, const char *employee_id,
                                PbCredential **replaced_out)
{
    const char *params[] = { call_tenant_text(call), employee_id };
    CLEANUP(db_result_clear) PGresult *res = NULL;
    int64_t version = 0;

    enum err e = db_exec(call->db, &sql_credential_feed_lock, params, &res);
    if (e || PQntuples(res) == 0)
        return e;
    e = read_locked(call, res, replaced_out, &version);
    return e ? e : write_revoked(call, *replaced_out, version);
}

static enum err make_feed(struct call *call, const struct wish *w,
                          Daybook__Directory__V1__CreateCalendarFeedResponse *reply)
{
    char *secret = secret_random_text(call->arena, SECRET_BYTES);
    char hash[65];

    if (!secret)
        return ERR_RESOURCE_EXHAUSTED;
    call_withhold_reply(call); /* as that of an API key */
    if (!secret_hash_token(secret, hash))
        return ERR_INTERNAL;
    enum err e = directory_lock(call);
    if (!e)
        e = need_employee(call, w);
    if (!e)
        e = end_living_feed(call, w->employee_id, &reply->replaced);
    if (!e)
        e = create(call, w, hash, &reply->credential);
    if (e)
        return e;
    reply->path = arena_printf(call->arena, "/calendars/%s_%s.ics", reply->credential->id, secret);
    return reply->path ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
}

enum err credential_create_calendar_feed(struct call *call, const ProtobufCMessage *request,
                                         ProtobufCMessage **reply_out)
{
    static char scope[] = "visits.read";
    static char *scopes[] = { scope };
    const Daybook__Directory__V1__CreateCalendarFeedRequest *req = (const void *)request;
    Daybook__Directory__V1__CreateCalendarFeedResponse *reply =
        call_new(call, &daybook__directory__v1__create_calendar_feed_response__descriptor);
    struct wish w = { .kind = KIND_CALENDAR,
                      .label = req->label,
                      .n_scopes = ARRAY_LEN(scopes),
                      .scopes = scopes,
                      .expires_at = req->expires_at };
    char *employee_id = NULL;

    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = choose_holder(call, req->employee_id, &employee_id);
    if (e)
        return e;
    w.employee_id = employee_id;
    e = check_wish(call, &w);
    *reply_out = &reply->base;
    return e ? e : make_feed(call, &w, reply);
}

/* --- listing ---------------------------------------------------------------------------------- */

/* A person without the right sees his own keys only. */
enum err credential_list(struct call *call, const ProtobufCMessage *request,
                         ProtobufCMessage **reply_out)
{
    const Daybook__Directory__V1__ListCredentialsRequest *req = (const void *)request;
    Daybook__Directory__V1__ListCredentialsResponse *reply =
        call_new(call, &daybook__directory__v1__list_credentials_response__descriptor);
    const char *actor = directory_has_right(call, RIGHT_CREDENTIALS) ? NULL : call_actor_text(call);
    struct call_page page = { .filter = arena_printf(call->arena, "credentials/%s/%s",
                                                     call_tenant_text(call), actor ? actor : "") };
    CLEANUP(db_result_clear) PGresult *res = NULL;

    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = call_page_begin(call, req->page_size, req->page_token, &page);
    if (e)
        return e;
    const char *params[] = { call_tenant_text(call), actor, page.keys[0], page.limit };
    e = db_exec(call->db, &sql_credential_list, params, &res);
    if (!e)
        e = record_read_all(res, &daybook__directory__v1__credential__descriptor, call->arena,
                            &reply->n_credentials, &reply->credentials);
    if (e)
        return e;
    reply->n_credentials = call_page_rows(&page, reply->n_credentials);
    if (page.more) {
        const char *keys[] = { reply->credentials[reply->n_credentials - 1]->id, NULL };
        e = call_page_end(call, &page, keys, &reply->next_page_token);
    }
    *reply_out = &reply->base;
    return e;
}

/* --- use ---------------------------------------------------------------------------------------- */

#define USE_TEXT_MAX 68 /* an element of any of the arrays */

typedef Daybook__Directory__V1__NoteUseRequest PbNoteUseRequest;

/* The scope is none that a key can be given, so no caller over HTTP has it. */
static bool tells_of_uses(const struct call *call)
{
    return authority_is_system(call) ||
           (!directory_is_employee(call) && authority_has_scope(call, CREDENTIAL_SCOPE_EDGE));
}

/* While the master key is replaced, and never else: the hash is all there is of a key. */
static bool is_to_be_kept(const Daybook__Directory__V1__KeyUse *use)
{
    return *secret_old_key_id() && strlen(use->secret_hash) == TOKEN_HASH_TEXT - 1 &&
           strspn(use->secret_hash, "0123456789abcdef") == TOKEN_HASH_TEXT - 1;
}

/* Of the uses, or of the refusals; used_at and hashes go with uses only. */
static bool list_uses(struct call *call, const PbNoteUseRequest *req, bool refused,
                      struct sbuf *ids, struct sbuf *times, struct sbuf *hashes)
{
    char before = '{';

    for (size_t i = 0; i < req->n_uses; i++) {
        const char *at = db_text_time(call->arena, wire_time_us(req->uses[i]->used_at));
        if (!at)
            return false;
        if ((*req->uses[i]->refused != '\0') != refused)
            continue;
        sbuf_addf(ids, "%c%s", before, req->uses[i]->credential_id);
        sbuf_addf(times, "%c\"%s\"", before, at);
        sbuf_addf(hashes, "%c\"%s\"", before,
                  is_to_be_kept(req->uses[i]) ? req->uses[i]->secret_hash : "");
        before = ',';
    }
    struct sbuf *const lists[] = { ids, times, hashes };
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        sbuf_add_text(lists[i], before == '{' ? "{}" : "}");
    return !ids->bad && !times->bad && !hashes->bad;
}

static void init_lists(struct sbuf *ids, struct sbuf *times, struct sbuf *hashes)
{
    sbuf_init(ids, USE_TEXT_MAX * CREDENTIAL_USES_MAX);
    sbuf_init(times, USE_TEXT_MAX * CREDENTIAL_USES_MAX);
    sbuf_init(hashes, USE_TEXT_MAX * CREDENTIAL_USES_MAX);
}

static enum err write_uses(struct call *call, const PbNoteUseRequest *req)
{
    CLEANUP(sbuf_fini) struct sbuf ids = { 0 }, times = { 0 }, hashes = { 0 };

    init_lists(&ids, &times, &hashes);
    if (!list_uses(call, req, false, &ids, &times, &hashes))
        return ERR_RESOURCE_EXHAUSTED;
    const char *params[] = { call_tenant_text(call), ids.data, times.data, hashes.data };
    return db_queue(call->db, &sql_credential_note_use, params);
}

/* Whose keys were refused; keys that are not there any more are passed over. */
static enum err find_refused(struct call *call, const PbNoteUseRequest *req, PGresult **res_out)
{
    CLEANUP(sbuf_fini) struct sbuf ids = { 0 }, times = { 0 }, hashes = { 0 };

    init_lists(&ids, &times, &hashes);
    if (!list_uses(call, req, true, &ids, &times, &hashes))
        return ERR_RESOURCE_EXHAUSTED;
    const char *params[] = { call_tenant_text(call), ids.data };
    return db_exec(call->db, &sql_credential_actors, params, res_out);
}

static enum err tell_refusals(struct call *call, const PbNoteUseRequest *req, struct id credential,
                              struct id actor)
{
    enum err e = ERR_OK;

    for (size_t i = 0; i < req->n_uses && !e; i++) {
        const Daybook__Directory__V1__KeyUse *use = req->uses[i];
        struct id id;
        if (*use->refused && id_parse(use->credential_id, &id) && id_equal(id, credential))
            e = call_emit_refusal(call, actor, use->remote_address, use->refused,
                                  MAX(use->times, 1) - 1);
    }
    return e;
}

static enum err write_refusals(struct call *call, const PbNoteUseRequest *req)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    bool any = false;

    for (size_t i = 0; i < req->n_uses; i++)
        any = any || *req->uses[i]->refused;
    enum err e = any ? find_refused(call, req, &res) : ERR_OK;
    int n = res ? PQntuples(res) : 0;
    for (struct db_row row = { .res = res }; row.row < n && !e; row.row++) {
        struct id credential = db_row_id(&row, "id"), actor = db_row_id(&row, "actor_id");
        e = row.bad ? ERR_INTERNAL : tell_refusals(call, req, credential, actor);
    }
    return e;
}

static bool keeps_hashes(const PbNoteUseRequest *req)
{
    for (size_t i = 0; i < req->n_uses; i++)
        if (is_to_be_kept(req->uses[i]))
            return true;
    return false;
}

/* Without the company's lock, and, but for hashes, a new revision: nothing that anybody decides by has changed. */
enum err credential_note_use(struct call *call, const ProtobufCMessage *request,
                             ProtobufCMessage **reply_out)
{
    const PbNoteUseRequest *req = (const void *)request;

    *reply_out = call_new(call, &daybook__directory__v1__note_use_response__descriptor);
    if (!tells_of_uses(call))
        return call_fail(call, ERR_PERMISSION_DENIED, "", "this is for the gateway");
    if (!*reply_out)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = write_uses(call, req);
    if (!e)
        e = write_refusals(call, req);
    return !e && keeps_hashes(req) ? directory_changed(call) : e;
}
