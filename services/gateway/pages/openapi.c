/*
 * openapi.c - OpenAPI 3.1 of the unary methods, as the Connect protocol has them in JSON.
 */
#include "common/version.h"
#include "services/gateway/connect/connect.h"
#include "services/gateway/pages/example.h"
#include "services/gateway/pages/json_doc.h"
#include "services/gateway/pages/json_schema.h"
#include "services/gateway/pages/pages_internal.h"

#define PARAMETER_REF "#/components/parameters/"
#define HEADER_REF "#/components/headers/"
#define RESPONSE_REF "#/components/responses/"

static const char about[] =
    "All unary methods of Daybook over HTTP, by the Connect protocol in JSON: POST "
    "/package.Service/Method, and GET for methods without side effects.\n\n"
    "The schemas show what is written. Read are also numbers for 64-bit integers, numbers of enum "
    "values, field names as in the proto files, and null for an absent field; unknown fields are "
    "ignored. Fields that have their default value are left out of answers.\n\n"
    "Requests may be compressed with gzip (Content-Encoding), answers are if Accept-Encoding has "
    "it. "
    "The same methods take and give application/proto. An unknown path is 404, another verb 405, "
    "another content type 415, each without a body.\n\n"
    "Server streams are no part of OpenAPI: those of the schema stand in x-server-streams, and "
    "/asyncapi.json describes the events.";

/* --- parts that do not depend on the schema ----------------------------------------------------- */

static const char security_schemes[] =
    "{'apiKey':{'type':'http','scheme':'bearer','bearerFormat':'dbk_<id>_<secret>','description':"
    "'An API key, made by CredentialService/CreateApiKey; or a token (JWT) of the identity "
    "provider, "
    "where the gateway takes them.'}}";

static const char parameters[] =
    "{'Connect-Protocol-Version':{'name':'Connect-Protocol-Version','in':'header','description':"
    "'The version of the Connect protocol.','schema':{'type':'string','enum':['1']}},"
    "'Connect-Timeout-Ms':{'name':'Connect-Timeout-Ms','in':'header','description':'Milliseconds "
    "left to answer; 5000 without it, more than 30000 counts as 30000.','schema':{'type':'string',"
    "'pattern':'^[0-9]{1,10}$'}},"
    "'Idempotency-Key':{'name':'Idempotency-Key','in':'header','description':'A command that is "
    "sent "
    "again with its key is done once, and answered with the first result; kept for 48 hours.',"
    "'schema':{'type':'string','minLength':1,'maxLength':255,'pattern':'^[!-~]+$'}},"
    "'connect':{'name':'connect','in':'query','description':'The version of the Connect protocol.',"
    "'schema':{'type':'string','enum':['v1']}},"
    "'encoding':{'name':'encoding','in':'query','required':true,'description':'How the message is "
    "written, and its answer.','schema':{'type':'string','enum':['json']}},"
    "'base64':{'name':'base64','in':'query','description':'1: the message is URL-safe base64 of "
    "its "
    "JSON, padded or not.','schema':{'type':'string','enum':['1']}},"
    "'compression':{'name':'compression','in':'query','description':'How the message is "
    "compressed; "
    "gzip needs base64=1.','schema':{'type':'string','enum':['gzip','identity']}},"
    "'If-None-Match':{'name':'If-None-Match','in':'header','description':'The ETag of an answer "
    "that "
    "the client has.','schema':{'type':'string'}}}";

static const char headers[] =
    "{'X-Request-Id':{'description':'The id of this request, for questions about it.','schema':"
    "{'type':'string','format':'uuid'}},"
    "'Idempotent-Replayed':{'description':'true: the answer of an earlier call with the same "
    "Idempotency-Key.','schema':{'type':'string'}},"
    "'ETag':{'description':'Changes with the answer.','schema':{'type':'string'}},"
    "'Retry-After':{'description':'Seconds after which to try again.','schema':{'type':'integer'}},"
    "'WWW-Authenticate':{'description':'With status 401: how to prove who asks.','schema':{'type':"
    "'string'}}}";

static const char error_details[] =
    "{'type':'array','items':{'type':'object','required':['type','value'],'properties':{"
    "'type':{'type':'string','description':'Full name of the message.'},"
    "'value':{'type':'string','description':'The message in proto, base64 without padding.'},"
    "'debug':{'description':'The same message in JSON, for people.'}}}}";

static const char unsupported[] =
    "{'description':'Neither JSON nor proto, or a content type that is missing; without a body.',"
    "'headers':{'Accept-Post':{'description':'What is taken.','schema':{'type':'string'}}}}";

/* --- components --------------------------------------------------------------------------------- */

static void add_error_schema(struct sbuf *b)
{
    jdoc_open(b, "connect.Error", '{');
    jdoc_raw(b, NULL, "'type':'object','required':['code'],'description':'An error of Connect.'");
    jdoc_open(b, "properties", '{');
    jdoc_open(b, "code", '{');
    jdoc_raw(b, NULL, "'type':'string'");
    jdoc_open(b, "enum", '[');
    for (int code = ERR_CANCELED; code <= ERR_UNAUTHENTICATED; code++)
        jdoc_text(b, NULL, err_name((enum err)code));
    jdoc_close(b, ']');
    jdoc_close(b, '}');
    jdoc_raw(b, "message", "{'type':'string','description':'For people.'}");
    jdoc_raw(b, "details", error_details);
    jdoc_close(b, '}');
    jdoc_close(b, '}');
}

static void add_json_content(struct sbuf *b, const char *type)
{
    jdoc_open(b, "content", '{');
    jdoc_open(b, "application/json", '{');
    jdoc_ref(b, "schema", JSON_SCHEMA_REF, type);
    jdoc_close(b, '}');
    jdoc_close(b, '}');
}

static void add_error_response(struct sbuf *b)
{
    CLEANUP(sbuf_fini) struct sbuf text = { 0 };

    sbuf_init(&text, 4 * KIB);
    sbuf_add_text(&text, "An error, with the HTTP status of its code: ");
    pages_add_statuses(&text);
    sbuf_add_char(&text, '.');
    jdoc_open(b, "Error", '{');
    jdoc_text(b, "description", text.data);
    jdoc_open(b, "headers", '{');
    jdoc_ref(b, "X-Request-Id", HEADER_REF, "X-Request-Id");
    jdoc_ref(b, "Retry-After", HEADER_REF, "Retry-After");
    jdoc_ref(b, "WWW-Authenticate", HEADER_REF, "WWW-Authenticate");
    jdoc_close(b, '}');
    add_json_content(b, "connect.Error");
    jdoc_close(b, '}');
}

static void add_components(struct sbuf *b, const struct schema_service *services, size_t n,
                           struct arena *scratch)
{
    struct json_types types;

    if (!json_types_init(&types, scratch)) {
        b->bad = true;
        return;
    }
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < services[i].nmethods; k++) {
            json_types_add(&types, schema_of(services[i].methods[k].input));
            json_types_add(&types, schema_of(services[i].methods[k].output));
        }
    json_types_sort(&types);
    jdoc_open(b, "components", '{');
    jdoc_open(b, "schemas", '{');
    json_schema_types(b, &types);
    add_error_schema(b);
    jdoc_close(b, '}');
    jdoc_open(b, "responses", '{');
    add_error_response(b);
    jdoc_raw(b, "UnsupportedMediaType", unsupported);
    jdoc_close(b, '}');
    jdoc_raw(b, "parameters", parameters);
    jdoc_raw(b, "headers", headers);
    jdoc_raw(b, "securitySchemes", security_schemes);
    jdoc_close(b, '}');
}

/* --- methods ------------------------------------------------------------------------------------ */

static bool is_unary(const struct schema_method *m)
{
    return !m->server_stream && !m->client_stream;
}

/* The first sentence, on one line. */
static void add_summary(struct sbuf *b, const char *comment)
{
    CLEANUP(sbuf_fini) struct sbuf text = { 0 };

    if (!comment)
        return;
    sbuf_init(&text, 4 * KIB);
    for (const char *p = comment; *p; p++) {
        if (*p == '.' && (p[1] == ' ' || p[1] == '\n' || p[1] == '\0'))
            break;
        sbuf_add_char(&text, *p == '\n' ? ' ' : *p);
    }
    jdoc_text(b, "summary", text.data);
}

static void add_ok(struct sbuf *b, const struct schema_method *m, bool get)
{
    jdoc_open(b, "200", '{');
    jdoc_text(b, "description", "The answer.");
    jdoc_open(b, "headers", '{');
    jdoc_ref(b, "X-Request-Id", HEADER_REF, "X-Request-Id");
    if (get)
        jdoc_ref(b, "ETag", HEADER_REF, "ETag");
    if (!m->no_side_effects)
        jdoc_ref(b, "Idempotent-Replayed", HEADER_REF, "Idempotent-Replayed");
    jdoc_close(b, '}');
    add_json_content(b, m->output->name);
    jdoc_close(b, '}');
}

static void add_responses(struct sbuf *b, const struct schema_method *m, bool get)
{
    jdoc_open(b, "responses", '{');
    add_ok(b, m, get);
    if (get)
        jdoc_raw(b, "304", "{'description':'The client has it already.'}");
    jdoc_ref(b, "415", RESPONSE_REF, "UnsupportedMediaType");
    jdoc_ref(b, "default", RESPONSE_REF, "Error");
    jdoc_close(b, '}');
}

static void add_post_request(struct sbuf *b, const struct schema_method *m, struct arena *scratch)
{
    jdoc_open(b, "parameters", '[');
    jdoc_ref(b, NULL, PARAMETER_REF, "Connect-Protocol-Version");
    jdoc_ref(b, NULL, PARAMETER_REF, "Connect-Timeout-Ms");
    if (!m->no_side_effects)
        jdoc_ref(b, NULL, PARAMETER_REF, "Idempotency-Key");
    jdoc_close(b, ']');
    jdoc_open(b, "requestBody", '{');
    jdoc_raw(b, "required", "true");
    jdoc_open(b, "content", '{');
    jdoc_open(b, "application/json", '{');
    jdoc_ref(b, "schema", JSON_SCHEMA_REF, m->input->name);
    jdoc_raw(b, "example", "");
    example_write(b, m->input, 0, scratch);
    jdoc_close(b, '}');
    jdoc_close(b, '}');
    jdoc_close(b, '}');
}

static void add_get_request(struct sbuf *b, const struct schema_method *m)
{
    static const char *const names[] = { "encoding",    "connect",       "base64",
                                         "compression", "If-None-Match", "Connect-Timeout-Ms" };

    jdoc_open(b, "parameters", '[');
    jdoc_open(b, NULL, '{');
    jdoc_raw(b, NULL, "'name':'message','in':'query','required':true");
    jdoc_text(b, "description", "The request.");
    add_json_content(b, m->input->name);
    jdoc_close(b, '}');
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        jdoc_ref(b, NULL, PARAMETER_REF, names[i]);
    jdoc_close(b, ']');
}

static void add_operation(struct sbuf *b, const struct schema_method *m, bool get,
                          struct arena *scratch)
{
    char id[512];

    snprintf(id, sizeof(id), "%s.%s%s", m->service, m->name, get ? ".get" : "");
    jdoc_open(b, get ? "get" : "post", '{');
    jdoc_open(b, "tags", '[');
    jdoc_text(b, NULL, m->service);
    jdoc_close(b, ']');
    jdoc_text(b, "operationId", id);
    add_summary(b, m->comment);
    jdoc_description(b, m->comment);
    if (get)
        add_get_request(b, m);
    else
        add_post_request(b, m, scratch);
    add_responses(b, m, get);
    jdoc_close(b, '}');
}

static void add_path(struct sbuf *b, const struct schema_method *m, struct arena *scratch)
{
    char path[512];

    snprintf(path, sizeof(path), "/%s/%s", m->service, m->name);
    jdoc_open(b, path, '{');
    add_operation(b, m, false, scratch);
    if (m->no_side_effects)
        add_operation(b, m, true, scratch);
    jdoc_close(b, '}');
}

static void add_stream(struct sbuf *b, const struct schema_method *m)
{
    jdoc_open(b, NULL, '{');
    jdoc_text(b, "service", m->service);
    jdoc_text(b, "method", m->name);
    jdoc_description(b, m->comment);
    jdoc_ref(b, "request", JSON_SCHEMA_REF, m->input->name);
    jdoc_ref(b, "message", JSON_SCHEMA_REF, m->output->name);
    jdoc_close(b, '}');
}

/* --- the document ------------------------------------------------------------------------------- */

static void add_info(struct sbuf *b)
{
    jdoc_text(b, "openapi", "3.1.0");
    jdoc_open(b, "info", '{');
    jdoc_text(b, "title", "Daybook");
    jdoc_text(b, "version", daybook_version());
    jdoc_text(b, "description", about);
    jdoc_close(b, '}');
    jdoc_raw(b, NULL, "'servers':[{'url':'/'}],'security':[{'apiKey':[]}]");
}

static void add_tag(struct sbuf *b, const struct schema_service *s)
{
    jdoc_open(b, NULL, '{');
    jdoc_text(b, "name", s->name);
    jdoc_description(b, s->comment);
    jdoc_close(b, '}');
}

/* The methods of all services that are unary, or those that are not. */
static void add_methods(struct sbuf *b, const struct schema_service *services, size_t n, bool unary,
                        struct arena *scratch)
{
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < services[i].nmethods; k++) {
            const struct schema_method *m = &services[i].methods[k];
            if (is_unary(m) != unary)
                continue;
            if (unary)
                add_path(b, m, scratch);
            else
                add_stream(b, m);
        }
}

void openapi_write(struct sbuf *b, struct arena *scratch)
{
    size_t n;
    const struct schema_service *services = schema_services(&n);

    jdoc_open(b, NULL, '{');
    add_info(b);
    jdoc_open(b, "tags", '[');
    for (size_t i = 0; i < n; i++)
        add_tag(b, &services[i]);
    jdoc_close(b, ']');
    jdoc_open(b, "paths", '{');
    add_methods(b, services, n, true, scratch);
    jdoc_close(b, '}');
    jdoc_open(b, "x-server-streams", '[');
    add_methods(b, services, n, false, scratch);
    jdoc_close(b, ']');
    add_components(b, services, n, scratch);
    jdoc_close(b, '}');
}
