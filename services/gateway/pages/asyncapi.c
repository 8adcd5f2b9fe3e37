/*
 * asyncapi.c - AsyncAPI 3.0 of the events: a channel an event on the ZeroMQ publisher, and one for
 * all of them over HTTP.
 */
#include "common/version.h"
#include "services/gateway/pages/json_doc.h"
#include "services/gateway/pages/json_schema.h"
#include "services/gateway/pages/pages_internal.h"

#define ENVELOPE "daybook.bus.v1.Event"
#define EVENT_SERVICE "daybook.bus.v1.EventService"
#define HTTP_CHANNEL "log"
#define MESSAGE_REF "#/components/messages/"

static const char about[] =
    "All events of Daybook. An event's full message name is its type. Each travels in the envelope "
    "daybook.bus.v1.Event and has a position (seq) in the durable log. Payloads are shown in JSON; "
    "on ZeroMQ the envelope is in proto. Who missed something, or hears another prev_seq than the "
    "last seq he had, reads the log by EventService/ReadEvents. The methods stand in "
    "/openapi.json.";

static const char servers[] =
    "{'http':{'host':'{gateway}','protocol':'http','description':'The gateway, by the Connect "
    "protocol. EventService/ReadEvents reads the log from a position in pieces; a server stream, "
    "if "
    "EventService has one, goes on with what happens.','variables':{'gateway':{'default':"
    "'127.0.0.1:8080','description':'Host and port.'}},'security':[{'$ref':"
    "'#/components/securitySchemes/apiKey'}]},"
    "'zmq':{'host':'{bus}','protocol':'zmq','protocolVersion':'3.1','description':'The publisher "
    "of "
    "the bus: a SUB socket with CURVE. Frames: topic <tenant>/<type>, log_id (16 bytes), seq (8 "
    "bytes, big-endian), the envelope in proto. Subscriptions are prefixes that begin with the own "
    "tenant and a slash. The topic ~head tells log_id and the newest seq each second without "
    "events. "
    "Who does not read loses messages: the log has them.','variables':{'bus':{'default':"
    "'127.0.0.1:5571','description':'Host and port of BUS_EVENTS_LISTEN.'}},'security':[{'$ref':"
    "'#/components/securitySchemes/curve'}]}}";

static const char security_schemes[] =
    "{'apiKey':{'type':'http','scheme':'bearer','bearerFormat':'dbk_<id>_<secret>','description':"
    "'An API key with the scope events.read; of people the role general_manager.'},"
    "'curve':{'type':'asymmetricEncryption','description':'A CURVE key that is registered as a "
    "credential, with the same rights.'}}";

/* --- parts of an event -------------------------------------------------------------------------- */

/* An Any in JSON: the fields of its message, and @type. */
static void add_data(struct sbuf *b, const char *type)
{
    char url[512];

    snprintf(url, sizeof(url), "type.googleapis.com/%s", type);
    jdoc_open(b, "data", '{');
    jdoc_open(b, "allOf", '[');
    jdoc_ref(b, NULL, JSON_SCHEMA_REF, type);
    jdoc_open(b, NULL, '{');
    jdoc_raw(b, NULL, "'type':'object','required':['@type']");
    jdoc_open(b, "properties", '{');
    jdoc_open(b, "@type", '{');
    jdoc_text(b, "const", url);
    jdoc_close(b, '}');
    jdoc_close(b, '}');
    jdoc_close(b, '}');
    jdoc_close(b, ']');
    jdoc_close(b, '}');
}

static void add_payload(struct sbuf *b, const char *type)
{
    jdoc_open(b, "payload", '{');
    jdoc_open(b, "allOf", '[');
    jdoc_ref(b, NULL, JSON_SCHEMA_REF, ENVELOPE);
    jdoc_open(b, NULL, '{');
    jdoc_raw(b, NULL, "'type':'object','required':['type','data']");
    jdoc_open(b, "properties", '{');
    jdoc_open(b, "type", '{');
    jdoc_text(b, "const", type);
    jdoc_close(b, '}');
    add_data(b, type);
    jdoc_close(b, '}');
    jdoc_close(b, '}');
    jdoc_close(b, ']');
    jdoc_close(b, '}');
}

static void add_message(struct sbuf *b, const struct schema_message *m)
{
    jdoc_open(b, m->type->name, '{');
    jdoc_text(b, "name", m->type->name);
    jdoc_text(b, "title", m->type->short_name);
    jdoc_description(b, m->comment);
    add_payload(b, m->type->name);
    jdoc_close(b, '}');
}

static void add_channel(struct sbuf *b, const struct schema_message *m)
{
    char address[512];

    snprintf(address, sizeof(address), "{tenant}/%s", m->type->name);
    jdoc_open(b, m->type->name, '{');
    jdoc_text(b, "address", address);
    jdoc_text(b, "title", m->type->short_name);
    jdoc_description(b, m->comment);
    jdoc_raw(b, NULL,
             "'servers':[{'$ref':'#/servers/zmq'}],"
             "'parameters':{'tenant':{'description':'Id of the company, UUID text.'}}");
    jdoc_open(b, "messages", '{');
    jdoc_ref(b, "event", MESSAGE_REF, m->type->name);
    jdoc_close(b, '}');
    jdoc_close(b, '}');
}

static void add_operation(struct sbuf *b, const char *channel)
{
    jdoc_open(b, channel, '{');
    jdoc_text(b, "action", "send");
    jdoc_ref(b, "channel", "#/channels/", channel);
    jdoc_close(b, '}');
}

static void add_event_operation(struct sbuf *b, const struct schema_message *m)
{
    add_operation(b, m->type->name);
}

static void add_event_ref(struct sbuf *b, const struct schema_message *m)
{
    jdoc_ref(b, m->type->short_name, MESSAGE_REF, m->type->name);
}

/* --- the document ------------------------------------------------------------------------------- */

/* An object with a member for each event. */
static void add_each(struct sbuf *b, const char *key,
                     void (*add)(struct sbuf *b, const struct schema_message *m))
{
    size_t n;
    const struct schema_message *messages = schema_all_messages(&n);

    jdoc_open(b, key, '{');
    for (size_t i = 0; i < n; i++)
        if (schema_is_event(&messages[i]))
            add(b, &messages[i]);
}

/* A stream of events, as soon as the service has one, else the reading of the log. */
static const char *http_method(void)
{
    return schema_find_method(EVENT_SERVICE, "StreamEvents") ? "StreamEvents" : "ReadEvents";
}

static void add_http_channel(struct sbuf *b)
{
    char address[128];

    snprintf(address, sizeof(address), "/" EVENT_SERVICE "/%s", http_method());
    jdoc_open(b, HTTP_CHANNEL, '{');
    jdoc_text(b, "address", address);
    jdoc_text(b, "title", "All events over HTTP");
    jdoc_raw(b, NULL,
             "'description':'The log from a position on, in JSON; a client asks for it.',"
             "'servers':[{'$ref':'#/servers/http'}]");
    add_each(b, "messages", add_event_ref);
    jdoc_close(b, '}');
    jdoc_close(b, '}');
}

static void add_schemas(struct sbuf *b, struct arena *scratch)
{
    size_t n;
    const struct schema_message *messages = schema_all_messages(&n);
    struct json_types types;

    if (!json_types_init(&types, scratch)) {
        b->bad = true;
        return;
    }
    json_types_add(&types, schema_find_message(ENVELOPE));
    for (size_t i = 0; i < n; i++)
        if (schema_is_event(&messages[i]))
            json_types_add(&types, &messages[i]);
    json_types_sort(&types);
    jdoc_open(b, "schemas", '{');
    json_schema_types(b, &types);
    jdoc_close(b, '}');
}

static void add_info(struct sbuf *b)
{
    jdoc_text(b, "asyncapi", "3.0.0");
    jdoc_open(b, "info", '{');
    jdoc_text(b, "title", "Daybook events");
    jdoc_text(b, "version", daybook_version());
    jdoc_text(b, "description", about);
    jdoc_close(b, '}');
    jdoc_raw(b, "servers", servers);
}

void asyncapi_write(struct sbuf *b, struct arena *scratch)
{
    jdoc_open(b, NULL, '{');
    add_info(b);
    add_each(b, "channels", add_channel);
    add_http_channel(b);
    jdoc_close(b, '}');
    add_each(b, "operations", add_event_operation);
    add_operation(b, HTTP_CHANNEL);
    jdoc_close(b, '}');
    jdoc_open(b, "components", '{');
    add_each(b, "messages", add_message);
    jdoc_close(b, '}');
    add_schemas(b, scratch);
    jdoc_raw(b, "securitySchemes", security_schemes);
    jdoc_close(b, '}');
    jdoc_close(b, '}');
}
