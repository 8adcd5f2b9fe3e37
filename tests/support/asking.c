/* asking.c - frames for call_answer(), and what comes back. */
#include "tests/support/asking.h"

#include <assert.h>

#include "common/protojson.h"
#include "common/schema.h"
#include "google/rpc/error_details.pb-c.h"
#include "google/rpc/status.pb-c.h"

static char *text(struct arena *a, const char *s)
{
    char *mine = arena_strdup(a, s ? s : "");
    assert(mine);
    return mine;
}

static PbPrincipal *principal(const struct question *q, struct arena *a)
{
    PbPrincipal *p = wire_new(&daybook__common__v1__principal__descriptor, a);
    size_t n = 0;

    assert(p);
    if (!id_is_nil(q->tenant))
        p->tenant_id = db_text_id(a, q->tenant);
    if (!id_is_nil(q->actor))
        p->actor_id = db_text_id(a, q->actor);
    p->kind = q->kind ? (Daybook__Common__V1__ActorKind)q->kind
                      : DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_SYSTEM;
    while (q->scopes && q->scopes[n])
        n++;
    p->scopes = arena_array(a, n + 1, sizeof(char *));
    for (size_t i = 0; i < n; i++)
        p->scopes[p->n_scopes++] = text(a, q->scopes[i]);
    return p;
}

static void to_frame(const ProtobufCMessage *m, bool json, struct arena *a, const void **out,
                     size_t *len_out)
{
    if (!json) {
        uint8_t *data;
        assert(wire_pack(m, a, &data, len_out) == ERR_OK);
        *out = data;
        return;
    }
    struct sbuf b;
    sbuf_init(&b, 8 * MIB);
    assert(protojson_write(m, 0, &b) == ERR_OK && !b.bad);
    *out = arena_memdup(a, b.data, b.len);
    *len_out = b.len;
    sbuf_fini(&b);
}

static ProtobufCMessage *from_frame(const ProtobufCMessageDescriptor *type, const uint8_t *data,
                                    size_t len, bool json, struct arena *a)
{
    ProtobufCMessage *m = NULL;
    struct wire_fault fault;
    enum err e = json ? protojson_read(type, (const char *)data, len, 0, a, &m, &fault)
                      : wire_unpack(type, data, len, &wire_limits_internal, a, &m, &fault);
    assert(e == ERR_OK);
    return m;
}

static void read_status(struct reply *r, struct arena *a)
{
    const Google__Rpc__Status *s = r->result->status;
    size_t infos = 0;

    r->reason = r->text = "";
    if (s == NULL)
        return;
    r->code = (enum err)s->code;
    r->text = s->message;
    for (size_t i = 0; i < s->n_details; i++)
        infos += strcmp(s->details[i]->type_url, "type.googleapis.com/google.rpc.ErrorInfo") == 0;
    assert(r->code != ERR_OK && infos == 1);
    const Google__Rpc__ErrorInfo *info = reply_detail(r, &google__rpc__error_info__descriptor, a);
    assert(strcmp(info->domain, "daybook") == 0);
    r->reason = info->reason;
}

struct reply ask(struct call_env *env, const struct question *q)
{
    struct arena *a = env->arena;
    PbCallContext *context = wire_new(&daybook__common__v1__call_context__descriptor, a);
    struct call_frames in = { 0 };
    struct reply r = { 0 };
    uint8_t *result, *frame;
    size_t result_len;

    assert(context);
    context->request_id = q->request_id ? text(a, q->request_id) : db_text_id(a, id_new());
    context->service = text(a, q->service);
    context->idempotency_key = text(a, q->key);
    context->deadline_ms = q->deadline_ms;
    context->principal = q->no_principal ? NULL : principal(q, a);
    char *method = arena_printf(a, "%s%s", q->method, q->json ? "+json" : "");
    assert(method);
    in.method = method;
    in.method_len = strlen(method);
    to_frame(&context->base, q->json, a, &in.context, &in.context_len);
    in.message = q->raw;
    in.message_len = q->raw_len;
    if (q->message)
        to_frame(q->message, q->json, a, &in.message, &in.message_len);

    call_answer(env, &in, &result, &result_len, &frame, &r.frame_len);
    r.frame = frame;
    r.result = (const PbCallResult *)from_frame(&daybook__common__v1__call_result__descriptor,
                                                result, result_len, q->json, a);
    read_status(&r, a);
    assert(strcmp(r.result->request_id, context->request_id) == 0 ||
           strcmp(r.reason, "INVALID_ARGUMENT") == 0); /* an unusable id is not returned */
    const struct schema_method *m = schema_find_method(q->service, q->method);
    if (r.code == ERR_OK && m)
        r.message = from_frame(m->output, frame, r.frame_len, q->json, a);
    return r;
}

const char *reply_metadata(const struct reply *r, const char *key)
{
    for (size_t i = 0; i < r->result->n_metadata; i++)
        if (strcmp(r->result->metadata[i]->key, key) == 0)
            return r->result->metadata[i]->value;
    return NULL;
}

const void *reply_detail(const struct reply *r, const ProtobufCMessageDescriptor *type,
                         struct arena *a)
{
    const Google__Rpc__Status *s = r->result->status;

    for (size_t i = 0; s && i < s->n_details; i++) {
        const Google__Protobuf__Any *any = s->details[i];
        const char *slash = strrchr(any->type_url, '/');
        if (slash && strcmp(slash + 1, type->name) == 0)
            return from_frame(type, any->value.data, any->value.len, false, a);
    }
    return NULL;
}

const char *reply_violations(const struct reply *r, struct arena *a)
{
    const Google__Rpc__BadRequest *bad = reply_detail(r, &google__rpc__bad_request__descriptor, a);
    const char *all = "";

    for (size_t i = 0; bad && i < bad->n_field_violations; i++) {
        all = arena_printf(a, "%s%s%s=%s", all, i ? " " : "", bad->field_violations[i]->field,
                           bad->field_violations[i]->reason);
        assert(all);
    }
    return all;
}
