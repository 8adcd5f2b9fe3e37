/*
 * reference.c - the API reference: one page, made from the schema, without anything from elsewhere.
 *
 * Anchors are full names: package.Service, package.Service.Method, package.Message, package.Enum.
 * Request and response stand below their method, other types at the end; each stands once.
 */
#include <sodium.h>

#include "common/protojson.h"
#include "common/version.h"
#include "services/gateway/pages/example.h"
#include "services/gateway/pages/html.h"
#include "services/gateway/pages/json_schema.h"
#include "services/gateway/pages/pages_internal.h"

#define GENERAL_TYPE "daybook.common.v1.Money" /* its file says what holds everywhere */

static const char style[] =
    ":root{color-scheme:light dark;--line:#8884;--soft:#8881;--link:#06c}"
    "@media(prefers-color-scheme:dark){:root{--link:#6af}}"
    "body{font:15px/1.5 system-ui,sans-serif;margin:0;display:grid;"
    "grid-template-columns:19rem minmax(0,1fr)}"
    "nav{position:sticky;top:0;height:100vh;overflow:auto;padding:1rem;box-sizing:border-box;"
    "border-right:1px solid var(--line);font-size:13px}"
    "main{padding:1rem 2rem;max-width:64rem}"
    "nav ul{list-style:none;margin:0;padding:0 0 0 .8rem}nav a{overflow-wrap:anywhere}"
    "a{color:var(--link);text-decoration:none}a:hover{text-decoration:underline}"
    "h2{margin-top:3rem;border-bottom:1px solid var(--line);overflow-wrap:anywhere}"
    "h3{margin:2rem 0 .3rem;overflow-wrap:anywhere}h4{margin:1rem 0 .3rem}"
    "code,pre{font:13px/1.45 ui-monospace,monospace}"
    "pre{background:var(--soft);padding:.8rem;overflow:auto}"
    "table{border-collapse:collapse;width:100%}"
    "td,th{text-align:left;vertical-align:top;padding:.3rem .6rem .3rem 0;"
    "border-top:1px solid var(--line)}td p{margin:0}td:first-child{white-space:nowrap}"
    ".tag{font-size:12px;border:1px solid var(--line);border-radius:3px;padding:0 .3rem}"
    "input{width:100%;box-sizing:border-box;padding:.4rem;margin-bottom:.6rem}"
    "summary{cursor:pointer}"
    "@media(max-width:50rem){body{display:block}nav{position:static;height:auto}}";

/* The box is there for those who have scripts only. */
static const char script[] =
    "(function(){var box=document.getElementById('filter');box.hidden=false;"
    "var all=[].map.call(document.querySelectorAll('article'),function(a){"
    "return{a:a,text:a.textContent.toLowerCase()}});"
    "box.addEventListener('input',function(){var want=box.value.toLowerCase();"
    "all.forEach(function(e){e.a.hidden=e.text.indexOf(want)<0});"
    "document.querySelectorAll('section').forEach(function(s){"
    "s.hidden=!!want&&!s.querySelector('article:not([hidden])')})})})();";

struct reference {
    struct sbuf *b;
    struct arena *scratch;
    struct json_types types; /* all that are shown */
    bool *shown;             /* types[i], already */
};

/* --- types -------------------------------------------------------------------------------------- */

static size_t place_of(const struct reference *r, const char *name)
{
    size_t i = 0;

    while (i < r->types.n && strcmp(r->types.types[i].name, name) != 0)
        i++;
    return i;
}

static const char *short_name(const char *full_name)
{
    const char *dot = strrchr(full_name, '.');
    return dot ? dot + 1 : full_name;
}

static void add_type_link(const struct reference *r, const char *name)
{
    if (place_of(r, name) < r->types.n)
        html_add(r->b, "<a href='#{}'>{}</a>", name, short_name(name));
    else
        html_text(r->b, short_name(name));
}

static void add_value_type(const struct reference *r, const struct schema_field *f)
{
    if (f->message)
        add_type_link(r, f->message->type->name);
    else if (f->field->type == PROTOBUF_C_TYPE_ENUM)
        add_type_link(r, ((const ProtobufCEnumDescriptor *)f->field->descriptor)->name);
    else
        sbuf_add_text(r->b, schema_scalar_name(f->field->type));
}

static void add_field_type(const struct reference *r, const struct schema_field *f)
{
    if (f->is_map) {
        sbuf_add_text(r->b, "map of ");
        add_value_type(r, &f->message->fields[0]);
        sbuf_add_text(r->b, " to ");
        add_value_type(r, &f->message->fields[1]);
        return;
    }
    if (f->field->label == PROTOBUF_C_LABEL_REPEATED)
        sbuf_add_text(r->b, "list of ");
    add_value_type(r, f);
    if (f->oneof)
        html_add(r->b, "<br>one of <code>{}</code>", f->oneof);
}

static void add_fields(const struct reference *r, const struct schema_message *m)
{
    if (!m->type->n_fields) {
        sbuf_add_text(r->b, "<p>No fields.</p>\n");
        return;
    }
    sbuf_add_text(r->b, "<table>\n");
    for (unsigned i = 0; i < m->type->n_fields; i++) {
        html_add(r->b, "<tr><td><code>{}</code></td><td>", m->fields[i].json_name);
        add_field_type(r, &m->fields[i]);
        sbuf_add_text(r->b, "</td><td>");
        html_comment(r->b, m->fields[i].comment);
        sbuf_add_text(r->b, "</td></tr>\n");
    }
    sbuf_add_text(r->b, "</table>\n");
}

static void add_values(const struct reference *r, const ProtobufCEnumDescriptor *e)
{
    sbuf_add_text(r->b, "<table>\n");
    for (unsigned i = 0; i < e->n_values; i++) {
        html_add(r->b, "<tr><td><code>{}</code></td><td>", e->values[i].name);
        html_comment(r->b, schema_enum_value_comment(e, e->values[i].value));
        sbuf_add_text(r->b, "</td></tr>\n");
    }
    sbuf_add_text(r->b, "</table>\n");
}

/* Its comment, and its fields or values. */
static void add_type_body(const struct reference *r, const struct json_type *type)
{
    html_comment(r->b,
                 type->message ? type->message->comment : schema_enum_comment(type->enumeration));
    if (type->message)
        add_fields(r, type->message);
    else
        add_values(r, type->enumeration);
}

static void add_type_article(const struct reference *r, size_t i)
{
    const char *name = r->types.types[i].name;

    html_add(r->b, "<article id='{}'>\n<h3><a href='#{}'>{}</a></h3>\n<p><code>{}</code></p>\n",
             name, name, short_name(name), name);
    add_type_body(r, &r->types.types[i]);
    sbuf_add_text(r->b, "</article>\n");
    r->shown[i] = true;
}

/* A request or a response: here, or a link to where it stands already. */
static void add_part(const struct reference *r, const char *what, const char *name)
{
    size_t i = place_of(r, name);

    if (i == r->types.n || r->shown[i]) {
        html_add(r->b, "<h4>{}: ", what);
        add_type_link(r, name);
        sbuf_add_text(r->b, "</h4>\n");
        return;
    }
    html_add(r->b, "<div id='{}'><h4>{}: <a href='#{}'>{}</a></h4>\n", name, what, name,
             short_name(name));
    add_type_body(r, &r->types.types[i]);
    sbuf_add_text(r->b, "</div>\n");
    r->shown[i] = true;
}

/* --- methods ------------------------------------------------------------------------------------ */

static void add_example(const struct reference *r, const struct schema_method *m)
{
    CLEANUP(sbuf_fini) struct sbuf json = { 0 };

    sbuf_init(&json, MIB);
    example_write(&json, m->input, PROTOJSON_PRETTY, r->scratch);
    r->b->bad = r->b->bad || json.bad;
    html_add(r->b,
             "<details><summary>Example</summary>\n<pre>curl \"$DAYBOOK_URL/{}/{}\" \\\n"
             "  -H \"Authorization: Bearer $DAYBOOK_API_KEY\" \\\n"
             "  -H 'Content-Type: application/json' \\\n",
             m->service, m->name);
    if (!m->no_side_effects)
        sbuf_add_text(r->b, "  -H \"Idempotency-Key: $(uuidgen)\" \\\n");
    html_add(r->b, "  -d '{}'</pre></details>\n", json.data);
}

static void add_method(const struct reference *r, const struct schema_method *m)
{
    html_add(r->b, "<article id='{}.{}'>\n<h3><a href='#{}.{}'>{}</a> ", m->service, m->name,
             m->service, m->name, m->name);
    if (m->no_side_effects)
        sbuf_add_text(r->b, "<span class=tag>no side effects: GET too</span>");
    if (m->server_stream)
        sbuf_add_text(r->b, "<span class=tag>server stream</span>");
    html_add(r->b, "</h3>\n<p><code>POST /{}/{}</code></p>\n", m->service, m->name);
    html_comment(r->b, m->comment);
    if (!m->server_stream && !m->client_stream) /* no curl by hand speaks in envelopes */
        add_example(r, m);
    add_part(r, "Request", m->input->name);
    add_part(r, m->server_stream ? "Messages" : "Response", m->output->name);
    sbuf_add_text(r->b, "</article>\n");
}

/* first: of its file, whose comment is about all of them. */
static void add_service(const struct reference *r, const struct schema_service *s, bool first)
{
    html_add(r->b, "<section id='{}'>\n<h2><a href='#{}'>{}</a></h2>\n", s->name, s->name, s->name);
    if (first)
        html_comment(r->b, s->file->comment);
    html_comment(r->b, s->comment);
    for (size_t i = 0; i < s->nmethods; i++)
        add_method(r, &s->methods[i]);
    sbuf_add_text(r->b, "</section>\n");
}

/* --- the page ----------------------------------------------------------------------------------- */

static void add_general(const struct reference *r)
{
    const struct schema_message *m = schema_find_message(GENERAL_TYPE);
    CLEANUP(sbuf_fini) struct sbuf statuses = { 0 };

    sbuf_init(&statuses, KIB);
    pages_add_statuses(&statuses);
    html_add(
        r->b,
        "<h1>Daybook {}</h1>\n<p>Every method is <code>POST /package.Service/Method</code> by the "
        "Connect protocol, in JSON or proto, with an API key or a token: <code>Authorization: "
        "Bearer "
        "dbk_...</code>. Methods without side effects are also <code>GET "
        "...?encoding=json&amp;message=...</code>, answered with an ETag. Headers: "
        "<code>Idempotency-Key</code> (a command sent again with it is done once), "
        "<code>Connect-Timeout-Ms</code>, <code>Connect-Protocol-Version: 1</code>. "
        "An error is <code>{\"code\", \"message\", \"details\"}</code> with its HTTP status: "
        "{}.</p>\n"
        "<p>For programs: <a href='/openapi.json'>OpenAPI 3.1</a>, <a "
        "href='/asyncapi.json'>AsyncAPI 3.0</a>.</p>\n",
        daybook_version(), statuses.data);
    if (m && m->file)
        html_comment(r->b, m->file->comment);
}

static void add_navigation(const struct reference *r, const struct schema_service *services,
                           size_t n)
{
    sbuf_add_text(r->b, "<nav><input id=filter type=search placeholder=Filter aria-label=Filter "
                        "hidden>\n<ul>\n");
    for (size_t i = 0; i < n; i++) {
        html_add(r->b, "<li><details><summary><a href='#{}'>{}</a></summary><ul>\n",
                 services[i].name, services[i].name);
        for (size_t k = 0; k < services[i].nmethods; k++)
            html_add(r->b, "<li><a href='#{}.{}'>{}</a></li>\n", services[i].name,
                     services[i].methods[k].name, services[i].methods[k].name);
        sbuf_add_text(r->b, "</ul></details></li>\n");
    }
    sbuf_add_text(r->b, "<li><a href='#events'>Events</a></li>\n"
                        "<li><a href='#types'>Types</a></li>\n</ul></nav>\n");
}

static void add_types(const struct reference *r, bool events)
{
    for (size_t i = 0; i < r->types.n; i++) {
        const struct schema_message *m = r->types.types[i].message;
        if (!r->shown[i] && (m && schema_is_event(m)) == events)
            add_type_article(r, i);
    }
}

static void add_body(const struct reference *r, const struct schema_service *services, size_t n)
{
    add_navigation(r, services, n);
    sbuf_add_text(r->b, "<main>\n");
    add_general(r);
    for (size_t i = 0; i < n; i++)
        add_service(r, &services[i], i == 0 || services[i].file != services[i - 1].file);
    sbuf_add_text(r->b,
                  "<section id=events>\n<h2><a href='#events'>Events</a></h2>\n<p>Each in the "
                  "envelope <a href='#daybook.bus.v1.Event'>daybook.bus.v1.Event</a>.</p>\n");
    add_types(r, true);
    sbuf_add_text(r->b, "</section>\n<section id=types>\n<h2><a href='#types'>Types</a></h2>\n");
    add_types(r, false);
    sbuf_add_text(r->b, "</section>\n</main>\n");
}

/* False: no memory. */
static bool collect(struct reference *r, const struct schema_service *services, size_t n)
{
    size_t nmessages;
    const struct schema_message *messages = schema_all_messages(&nmessages);

    if (!json_types_init(&r->types, r->scratch))
        return false;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < services[i].nmethods; k++) {
            json_types_add(&r->types, schema_of(services[i].methods[k].input));
            json_types_add(&r->types, schema_of(services[i].methods[k].output));
        }
    for (size_t i = 0; i < nmessages; i++)
        if (schema_is_event(&messages[i]))
            json_types_add(&r->types, &messages[i]);
    json_types_sort(&r->types);
    r->shown = arena_array(r->scratch, r->types.n, sizeof(*r->shown));
    return r->shown != NULL;
}

void reference_write(struct sbuf *b, struct arena *scratch)
{
    size_t n;
    const struct schema_service *services = schema_services(&n);
    struct reference r = { .b = b, .scratch = scratch };

    if (!collect(&r, services, n)) {
        b->bad = true;
        return;
    }
    sbuf_add_text(b, "<!doctype html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n"
                     "<meta name=viewport content='width=device-width'>\n"
                     "<title>Daybook API</title>\n<style>");
    sbuf_add_text(b, style);
    sbuf_add_text(b, "</style>\n</head>\n<body>\n");
    add_body(&r, services, n);
    sbuf_add_text(b, "<script>");
    sbuf_add_text(b, script);
    sbuf_add_text(b, "</script>\n</body>\n</html>\n");
}

/* --- what the page may do ----------------------------------------------------------------------- */

static void add_hash(struct sbuf *b, const char *directive, const char *text)
{
    uint8_t hash[crypto_hash_sha256_BYTES];
    char base64[sodium_base64_ENCODED_LEN(sizeof(hash), sodium_base64_VARIANT_ORIGINAL)];

    crypto_hash_sha256(hash, (const uint8_t *)text, strlen(text));
    sodium_bin2base64(base64, sizeof(base64), hash, sizeof(hash), sodium_base64_VARIANT_ORIGINAL);
    sbuf_addf(b, "; %s 'sha256-%s'", directive, base64);
}

void reference_policy(struct sbuf *b)
{
    sbuf_add_text(b, "default-src 'none'; base-uri 'none'; form-action 'none'; "
                     "frame-ancestors 'none'");
    add_hash(b, "style-src", style);
    add_hash(b, "script-src", script);
}
