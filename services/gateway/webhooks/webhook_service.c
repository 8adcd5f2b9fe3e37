/*
 * webhook_service.c - the handlers for endpoints, and the table of WebhookService.
 */
#include "common/authority.h"
#include "common/call_page.h"
#include "common/http_out.h"
#include "common/reseal.h"
#include "common/schema.h"
#include "common/secret.h"
#include "common/webhook_signature.h"
#include "services/gateway/sql.h"
#include "services/gateway/webhooks/webhook.h"

#define ENDPOINTS_MAX 100
#define TYPES_MAX 64

#define ACTIVE DAYBOOK__GATEWAY__V1__ENDPOINT_STATE__ENDPOINT_STATE_ACTIVE
#define PAUSED DAYBOOK__GATEWAY__V1__ENDPOINT_STATE__ENDPOINT_STATE_PAUSED

const struct lease_plan webhook_lease_plan = { .schema = "gateway", .counts = { WEBHOOK_LANES } };

int webhook_lane(struct id endpoint, uint64_t key)
{
    uint64_t h = id_hash(endpoint) ^ key;
    return (int)((h ^ h >> 32) % WEBHOOK_LANES);
}

/* FNV-1a: the same everywhere and for ever, since rows keep it. */
uint64_t webhook_key(const char *aggregate)
{
    uint64_t h = UINT64_C(14695981039346656037);

    for (; *aggregate; aggregate++)
        h = (h ^ (uint8_t)*aggregate) * UINT64_C(1099511628211);
    return h;
}

/* --- secrets ------------------------------------------------------------------------------------ */

static char *secret_name(struct arena *a, struct id endpoint)
{
    char text[ID_TEXT_MAX];
    return arena_printf(a, "webhook:%s", id_text(endpoint, text));
}

char *webhook_seal_secret(struct arena *a, struct id tenant, struct id endpoint, const char *secret)
{
    char *name = secret_name(a, endpoint);
    return name ? secret_seal(a, tenant, name, secret) : NULL;
}

enum err webhook_open_secret(struct arena *a, struct id tenant, struct id endpoint,
                             const char *sealed, char **clear_out)
{
    char *name = secret_name(a, endpoint);
    return name ? secret_open(a, tenant, name, sealed, clear_out) : ERR_RESOURCE_EXHAUSTED;
}

const struct reseal_table endpoint_sealed = { .name = "endpoint",
                                              .next = &sql_endpoint_sealed_next,
                                              .put = &sql_endpoint_sealed_put,
                                              .first = "webhook",
                                              .second = "webhook" };

/* --- what all of them need ---------------------------------------------------------------------- */

enum err webhook_need_right(struct call *call)
{
    static const char *const roles[] = { "general_manager", NULL };

    if (authority_is_system(call))
        return ERR_OK;
    if (authority_has_scope(call, "events.read"))
        return call->employee ? authority_need_role(call, roles, "webhooks, which see all events")
                              : ERR_OK;
    return call_reason(call,
                       call_fail(call, ERR_PERMISSION_DENIED, "",
                                 "an endpoint sees all events: the key needs events.read, too"),
                       "SCOPE_REQUIRED");
}

enum err webhook_need_endpoint(struct call *call, const char *id, const char *field, bool lock,
                               PbEndpoint **endpoint_out)
{
    const char *const params[] = { call_tenant_text(call), id };

    enum err e = webhook_need_right(call);
    if (!e)
        e = record_find(call->db, lock ? &sql_endpoint_lock : &sql_endpoint_find, params,
                        &daybook__gateway__v1__endpoint__descriptor, call->arena, endpoint_out);
    if (e == ERR_NOT_FOUND)
        e = call_fail(call, e, field, "there is no endpoint %s", id);
    return e;
}

void webhook_wake(struct call *call, struct id endpoint, uint32_t lanes, bool changed)
{
    const struct webhook_hint hint = {
        .tenant = call->tenant, .endpoint = endpoint, .lanes = lanes, .changed = changed
    };
    call_wake(call, WAKE_WEBHOOKS, &hint, sizeof(hint));
}

static void wake_changed(struct call *call, const PbEndpoint *endpoint)
{
    struct id id;

    if (id_parse(endpoint->id, &id))
        webhook_wake(call, id, WEBHOOK_ALL_LANES, true);
}

static enum err emit(struct call *call, const PbEndpoint *endpoint, const ProtobufCMessage *event)
{
    int64_t version = strtoll(endpoint->etag, NULL, 10);
    return call_emit(call, "webhook-endpoints", endpoint->id, version, event);
}

static enum err emit_updated(struct call *call, PbEndpoint *endpoint)
{
    Daybook__Gateway__V1__EndpointUpdated event = DAYBOOK__GATEWAY__V1__ENDPOINT_UPDATED__INIT;

    event.endpoint = endpoint;
    return emit(call, endpoint, &event.base);
}

/* The next version, as the statement that changes the row makes it. */
static enum err raise_etag(struct call *call, PbEndpoint *endpoint)
{
    endpoint->etag = arena_printf(call->arena, "%lld", strtoll(endpoint->etag, NULL, 10) + 1);
    return endpoint->etag ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
}

/* --- what may stand in one ---------------------------------------------------------------------- */

static enum err judge_url(struct call *call, const char *url)
{
    const struct webhook_config *config = webhook_config_of(call->daemon_data);
    struct http_out *http = http_out_new(config->allow, config->allow_plain);
    const char *reason = "";

    if (!http)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = http_out_check_url(http, url, &reason);
    if (e && e != ERR_RESOURCE_EXHAUSTED)
        e = call_fail(call, ERR_INVALID_ARGUMENT, "endpoint.url", "cannot be called: %s", reason);
    http_out_free(http);
    return e;
}

static bool is_begin_of_type(const char *prefix)
{
    size_t n, len = strlen(prefix);
    const struct schema_message *all = schema_all_messages(&n);

    for (size_t i = 0; i < n; i++)
        if (schema_is_event(&all[i]) && strncmp(all[i].type->name, prefix, len) == 0)
            return true;
    return false;
}

static bool is_pattern(const char *text)
{
    size_t len = strlen(text);

    if (len && text[len - 1] == '.')
        return is_begin_of_type(text);
    const struct schema_message *m = schema_find_message(text);
    return m && schema_is_event(m);
}

static enum err judge_types(struct call *call, const PbEndpoint *endpoint)
{
    char field[64];

    for (size_t i = 0; i < endpoint->n_types; i++) {
        if (is_pattern(endpoint->types[i]))
            continue;
        snprintf(field, sizeof(field), "endpoint.types[%zu]", i);
        call_violation(call, field,
                       "no event type begins so; a full name, or a prefix that ends in a dot, of "
                       "those in /asyncapi.json");
    }
    return call_violations(call);
}

/* --- commands ----------------------------------------------------------------------------------- */

static enum err need_room(struct call *call)
{
    const char *const params[] = { call_tenant_text(call) };
    CLEANUP(db_result_clear) PGresult *res = NULL;

    enum err e = db_exec(call->db, &sql_endpoint_count, params, &res);
    if (e)
        return e;
    struct db_row row = { .res = res };
    return db_row_i64(&row, "n") < ENDPOINTS_MAX
               ? ERR_OK
               : call_fail(call, ERR_FAILED_PRECONDITION, "",
                           "a company has at most %d endpoints: delete one", ENDPOINTS_MAX);
}

static enum err insert(struct call *call, const PbEndpoint *endpoint, struct id id,
                       const char *secret)
{
    const struct record_extra extras[] = {
        { "tenant_id", call_tenant_text(call) },
        { "secret", webhook_seal_secret(call->arena, call->tenant, id, secret) },
    };
    const char *const *params;

    if (!extras[1].value)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = record_bind(&sql_endpoint_insert, &endpoint->base, extras, ARRAY_LEN(extras),
                             call->arena, &params);
    return e ? e : db_queue(call->db, &sql_endpoint_insert, params);
}

enum err webhook_create(struct call *call, const ProtobufCMessage *in, ProtobufCMessage **reply_out)
{
    const Daybook__Gateway__V1__CreateEndpointRequest *req = (const void *)in;
    Daybook__Gateway__V1__CreateEndpointResponse *reply =
        call_new(call, &daybook__gateway__v1__create_endpoint_response__descriptor);
    Daybook__Gateway__V1__EndpointCreated event = DAYBOOK__GATEWAY__V1__ENDPOINT_CREATED__INIT;
    PbEndpoint *endpoint = call_new(call, &daybook__gateway__v1__endpoint__descriptor);
    struct id id = id_new();

    if (!reply || !endpoint)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = webhook_need_right(call);
    if (!e)
        e = judge_url(call, req->endpoint->url);
    if (!e)
        e = judge_types(call, req->endpoint);
    if (!e)
        e = need_room(call);
    if (e)
        return e;
    endpoint->id = db_text_id(call->arena, id);
    endpoint->url = req->endpoint->url;
    endpoint->n_types = req->endpoint->n_types;
    endpoint->types = req->endpoint->types;
    endpoint->description = req->endpoint->description;
    endpoint->state = ACTIVE;
    endpoint->created_at = wire_time(call->arena, call->now_us);
    endpoint->etag = arena_strdup(call->arena, "1");
    reply->secret = webhook_new_secret(call->arena);
    if (!endpoint->id || !endpoint->created_at || !endpoint->etag || !reply->secret)
        return ERR_RESOURCE_EXHAUSTED;
    e = insert(call, endpoint, id, reply->secret);
    if (e)
        return e;
    call_withhold_reply(call); /* or else the secret would lie in the record of the command */
    event.endpoint = reply->endpoint = endpoint;
    *reply_out = &reply->base;
    return emit(call, endpoint, &event.base);
}

static enum err write_row(struct call *call, PbEndpoint *endpoint)
{
    const struct record_extra extras[] = { { "tenant_id", call_tenant_text(call) } };
    const char *const *params;

    enum err e = record_bind(&sql_endpoint_update, &endpoint->base, extras, ARRAY_LEN(extras),
                             call->arena, &params);
    if (!e)
        e = db_queue(call->db, &sql_endpoint_update, params);
    return e ? e : raise_etag(call, endpoint);
}

static enum err store(struct call *call, PbEndpoint *endpoint)
{
    enum err e = write_row(call, endpoint);
    if (!e)
        e = emit_updated(call, endpoint);
    if (!e)
        wake_changed(call, endpoint);
    return e;
}

/* Takes over what the mask names. False: a name that is not one. */
static bool merge(PbEndpoint *into, const PbEndpoint *from, const char *path)
{
    bool all = strcmp(path, "*") == 0;

    if (all || strcmp(path, "url") == 0)
        into->url = from->url;
    if (all || strcmp(path, "types") == 0) {
        into->n_types = from->n_types;
        into->types = from->types;
    }
    if (all || strcmp(path, "description") == 0)
        into->description = from->description;
    return all || strcmp(path, "url") == 0 || strcmp(path, "types") == 0 ||
           strcmp(path, "description") == 0;
}

static enum err merge_all(struct call *call, PbEndpoint *into,
                          const Daybook__Gateway__V1__UpdateEndpointRequest *req)
{
    const PbEndpoint *from = req->endpoint;

    if (!req->update_mask || !req->update_mask->n_paths) {
        (void)(*from->url && merge(into, from, "url"));
        (void)(from->n_types && merge(into, from, "types"));
        (void)(*from->description && merge(into, from, "description"));
        return ERR_OK;
    }
    for (size_t i = 0; i < req->update_mask->n_paths; i++)
        if (!merge(into, from, req->update_mask->paths[i]))
            return call_fail(call, ERR_INVALID_ARGUMENT, "update_mask",
                             "cannot change %s: url, types and description can be",
                             req->update_mask->paths[i]);
    return ERR_OK;
}

enum err webhook_update(struct call *call, const ProtobufCMessage *in, ProtobufCMessage **reply_out)
{
    const Daybook__Gateway__V1__UpdateEndpointRequest *req = (const void *)in;
    Daybook__Gateway__V1__UpdateEndpointResponse *reply =
        call_new(call, &daybook__gateway__v1__update_endpoint_response__descriptor);
    PbEndpoint *endpoint;

    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = webhook_need_endpoint(call, req->endpoint->id, "endpoint.id", true, &endpoint);
    if (!e && *req->endpoint->etag && strcmp(req->endpoint->etag, endpoint->etag) != 0)
        e = call_fail(call, ERR_ABORTED, "endpoint.etag",
                      "the endpoint was changed in the meantime: read it again");
    if (!e)
        e = merge_all(call, endpoint, req);
    if (!e && !*endpoint->url)
        e = call_fail(call, ERR_INVALID_ARGUMENT, "endpoint.url", "an endpoint needs a url");
    if (!e)
        e = judge_url(call, endpoint->url);
    if (!e)
        e = judge_types(call, endpoint);
    if (!e)
        e = store(call, endpoint);
    reply->endpoint = endpoint;
    *reply_out = &reply->base;
    return e;
}

static enum err change_state(struct call *call, const char *id, bool active, PbEndpoint **out)
{
    enum err e = webhook_need_endpoint(call, id, "id", true, out);
    PbEndpoint *endpoint = *out;

    if (e || (endpoint->state == ACTIVE) == active)
        return e;
    endpoint->state = active ? ACTIVE : PAUSED;
    endpoint->disabled_reason = arena_strdup(call->arena, "");
    endpoint->failing_since = NULL;
    if (!endpoint->disabled_reason)
        return ERR_RESOURCE_EXHAUSTED;
    const char *const params[] = { call_tenant_text(call), id };
    if (active)
        e = db_queue(call->db, &sql_outgoing_anew, params);
    return e ? e : store(call, endpoint);
}

enum err webhook_pause(struct call *call, const ProtobufCMessage *in, ProtobufCMessage **reply_out)
{
    const Daybook__Gateway__V1__PauseEndpointRequest *req = (const void *)in;
    Daybook__Gateway__V1__PauseEndpointResponse *reply =
        call_new(call, &daybook__gateway__v1__pause_endpoint_response__descriptor);

    *reply_out = reply ? &reply->base : NULL;
    return reply ? change_state(call, req->id, false, &reply->endpoint) : ERR_RESOURCE_EXHAUSTED;
}

enum err webhook_resume(struct call *call, const ProtobufCMessage *in, ProtobufCMessage **reply_out)
{
    const Daybook__Gateway__V1__ResumeEndpointRequest *req = (const void *)in;
    Daybook__Gateway__V1__ResumeEndpointResponse *reply =
        call_new(call, &daybook__gateway__v1__resume_endpoint_response__descriptor);

    *reply_out = reply ? &reply->base : NULL;
    return reply ? change_state(call, req->id, true, &reply->endpoint) : ERR_RESOURCE_EXHAUSTED;
}

enum err webhook_delete(struct call *call, const ProtobufCMessage *in, ProtobufCMessage **reply_out)
{
    const Daybook__Gateway__V1__DeleteEndpointRequest *req = (const void *)in;
    Daybook__Gateway__V1__DeleteEndpointResponse *reply =
        call_new(call, &daybook__gateway__v1__delete_endpoint_response__descriptor);
    Daybook__Gateway__V1__EndpointDeleted event = DAYBOOK__GATEWAY__V1__ENDPOINT_DELETED__INIT;
    const char *const params[] = { call_tenant_text(call), req->id };
    PbEndpoint *endpoint;

    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = webhook_need_endpoint(call, req->id, "id", true, &endpoint);
    if (!e)
        e = db_queue(call->db, &sql_endpoint_lock_whole, params);
    if (!e)
        e = db_queue(call->db, &sql_endpoint_delete, params);
    if (!e)
        e = raise_etag(call, endpoint);
    if (e)
        return e;
    event.endpoint_id = endpoint->id;
    wake_changed(call, endpoint);
    *reply_out = &reply->base;
    return emit(call, endpoint, &event.base);
}

static enum err put_secret(struct call *call, PbEndpoint *endpoint, const char *secret,
                           bool keep_old)
{
    CLEANUP(db_result_clear) PGresult *res = NULL;
    struct id id;
    char *sealed = id_parse(endpoint->id, &id)
                       ? webhook_seal_secret(call->arena, call->tenant, id, secret)
                       : NULL;
    const char *const params[] = { call_tenant_text(call), endpoint->id, sealed,
                                   keep_old ? "t" : "f" };

    if (!sealed)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = db_exec(call->db, &sql_endpoint_secret, params, &res);
    struct db_row row = { .res = res };
    if (!e)
        endpoint->old_secret_until =
            db_row_is_null(&row, "old_secret_until")
                ? NULL
                : wire_time(call->arena, db_row_time(&row, "old_secret_until"));
    return e ? e : raise_etag(call, endpoint);
}

enum err webhook_rotate_secret(struct call *call, const ProtobufCMessage *in,
                               ProtobufCMessage **reply_out)
{
    const Daybook__Gateway__V1__RotateSecretRequest *req = (const void *)in;
    Daybook__Gateway__V1__RotateSecretResponse *reply =
        call_new(call, &daybook__gateway__v1__rotate_secret_response__descriptor);
    PbEndpoint *endpoint;

    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    reply->secret = webhook_new_secret(call->arena);
    if (!reply->secret)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = webhook_need_endpoint(call, req->id, "id", true, &endpoint);
    if (!e)
        e = put_secret(call, endpoint, reply->secret, !req->revoke_now);
    if (!e)
        e = emit_updated(call, endpoint);
    if (e)
        return e;
    wake_changed(call, endpoint);
    call_withhold_reply(call);
    reply->endpoint = endpoint;
    *reply_out = &reply->base;
    return ERR_OK;
}

/* By way of the log, as all events: what arrives has come the whole way. */
enum err webhook_ping(struct call *call, const ProtobufCMessage *in, ProtobufCMessage **reply_out)
{
    const Daybook__Gateway__V1__PingRequest *req = (const void *)in;
    Daybook__Gateway__V1__PingResponse *reply =
        call_new(call, &daybook__gateway__v1__ping_response__descriptor);
    Daybook__Gateway__V1__EndpointPinged event = DAYBOOK__GATEWAY__V1__ENDPOINT_PINGED__INIT;
    PbEndpoint *endpoint;

    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = webhook_need_endpoint(call, req->id, "id", true, &endpoint);
    if (!e && endpoint->state != ACTIVE)
        e = call_fail(call, ERR_FAILED_PRECONDITION, "id",
                      "the endpoint is paused or disabled: resume it first");
    if (e)
        return e;
    reply->ping_id = db_text_id(call->arena, id_new());
    if (!reply->ping_id)
        return ERR_RESOURCE_EXHAUSTED;
    e = write_row(call, endpoint); /* each event has a version of its own */
    event.endpoint_id = endpoint->id;
    event.ping_id = reply->ping_id;
    *reply_out = &reply->base;
    return e ? e : emit(call, endpoint, &event.base);
}

/* --- reads -------------------------------------------------------------------------------------- */

enum err webhook_get(struct call *call, const ProtobufCMessage *in, ProtobufCMessage **reply_out)
{
    const Daybook__Gateway__V1__GetEndpointRequest *req = (const void *)in;
    Daybook__Gateway__V1__GetEndpointResponse *reply =
        call_new(call, &daybook__gateway__v1__get_endpoint_response__descriptor);
    const char *const params[] = { call_tenant_text(call), req->id };
    CLEANUP(db_result_clear) PGresult *res = NULL;

    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = webhook_need_endpoint(call, req->id, "id", false, &reply->endpoint);
    if (!e)
        e = db_exec(call->db, &sql_endpoint_counts, params, &res);
    if (e)
        return e;
    struct db_row row = { .res = res };
    reply->pending = (int32_t)db_row_i64(&row, "pending");
    reply->parked = (int32_t)db_row_i64(&row, "parked");
    *reply_out = &reply->base;
    return row.bad ? ERR_INTERNAL : ERR_OK;
}

enum err webhook_list(struct call *call, const ProtobufCMessage *in, ProtobufCMessage **reply_out)
{
    const Daybook__Gateway__V1__ListEndpointsRequest *req = (const void *)in;
    Daybook__Gateway__V1__ListEndpointsResponse *reply =
        call_new(call, &daybook__gateway__v1__list_endpoints_response__descriptor);
    CLEANUP(db_result_clear) PGresult *res = NULL;
    struct call_page page = { .filter = "webhook-endpoints" };

    if (!reply)
        return ERR_RESOURCE_EXHAUSTED;
    enum err e = webhook_need_right(call);
    if (!e)
        e = call_page_begin(call, req->page_size, req->page_token, &page);
    if (e)
        return e;
    const char *const params[] = { call_tenant_text(call), page.keys[0], page.limit };
    e = db_exec(call->db, &sql_endpoint_list, params, &res);
    if (!e)
        e = record_read_all(res, &daybook__gateway__v1__endpoint__descriptor, call->arena,
                            &reply->n_endpoints, &reply->endpoints);
    if (e)
        return e;
    reply->n_endpoints = call_page_rows(&page, reply->n_endpoints);
    if (page.more) {
        const char *const keys[] = { reply->endpoints[reply->n_endpoints - 1]->id, NULL };
        e = call_page_end(call, &page, keys, &reply->next_page_token);
    }
    *reply_out = &reply->base;
    return e;
}

/* --- table -------------------------------------------------------------------------------------- */

#define END                                                                                        \
    {                                                                                              \
        NULL, 0, 0, 0                                                                              \
    }

static const struct check create_checks[] = {
    { "endpoint", CHECK_REQUIRED, 0, 0 },
    { "endpoint.url", CHECK_REQUIRED | CHECK_LENGTH, 1, 2048 },
    { "endpoint.types", CHECK_COUNT, 0, TYPES_MAX },
    { "endpoint.types[]", CHECK_REQUIRED | CHECK_LENGTH, 1, 200 },
    { "endpoint.description", CHECK_LENGTH, 0, 200 },
    END,
};
static const struct check update_checks[] = {
    { "endpoint", CHECK_REQUIRED, 0, 0 },
    { "endpoint.id", CHECK_REQUIRED | CHECK_ID, 0, 0 },
    { "endpoint.url", CHECK_LENGTH, 0, 2048 },
    { "endpoint.types", CHECK_COUNT, 0, TYPES_MAX },
    { "endpoint.types[]", CHECK_REQUIRED | CHECK_LENGTH, 1, 200 },
    { "endpoint.description", CHECK_LENGTH, 0, 200 },
    { "update_mask.paths", CHECK_COUNT, 0, 16 },
    END,
};
static const struct check id_checks[] = { { "id", CHECK_REQUIRED | CHECK_ID, 0, 0 }, END };
static const struct check deliveries_checks[] = {
    { "endpoint_id", CHECK_REQUIRED | CHECK_ID, 0, 0 },
    { "state", CHECK_ENUM, 0, 0 },
    END,
};
static const struct check delivery_checks[] = {
    { "endpoint_id", CHECK_REQUIRED | CHECK_ID, 0, 0 },
    { "event_id", CHECK_REQUIRED | CHECK_ID, 0, 0 },
    END,
};
static const struct check redeliver_checks[] = {
    { "endpoint_id", CHECK_REQUIRED | CHECK_ID, 0, 0 },
    { "event_id", CHECK_ID, 0, 0 },
    { "since", CHECK_TIME, 0, 0 },
    { "after_event_id", CHECK_ID, 0, 0 },
    END,
};

#define METHOD(m, h, s, c)                                                                         \
    {                                                                                              \
        .service = "daybook.gateway.v1.WebhookService", .name = (m), .handler = (h), .scope = (s), \
        .checks = (c),                                                                             \
    }

const struct method webhook_methods[] = {
    METHOD("CreateEndpoint", webhook_create, "webhooks.write", create_checks),
    METHOD("GetEndpoint", webhook_get, "webhooks.read", id_checks),
    METHOD("ListEndpoints", webhook_list, "webhooks.read", NULL),
    METHOD("UpdateEndpoint", webhook_update, "webhooks.write", update_checks),
    METHOD("DeleteEndpoint", webhook_delete, "webhooks.write", id_checks),
    METHOD("PauseEndpoint", webhook_pause, "webhooks.write", id_checks),
    METHOD("ResumeEndpoint", webhook_resume, "webhooks.write", id_checks),
    METHOD("RotateSecret", webhook_rotate_secret, "webhooks.write", id_checks),
    METHOD("Ping", webhook_ping, "webhooks.write", id_checks),
    METHOD("ListDeliveries", webhook_list_deliveries, "webhooks.read", deliveries_checks),
    METHOD("GetDelivery", webhook_get_delivery, "webhooks.read", delivery_checks),
    METHOD("Redeliver", webhook_redeliver, "webhooks.write", redeliver_checks),
};
const size_t webhook_methods_len = ARRAY_LEN(webhook_methods);
