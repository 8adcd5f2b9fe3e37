/*
 * event_schema.c - the JSON Schema (2020-12) of one event's data, where the dataschema of webhooks
 * leads. Its references go to members of the same document, as those of OpenAPI do.
 */
#include "services/gateway/pages/json_doc.h"
#include "services/gateway/pages/json_schema.h"
#include "services/gateway/pages/pages_internal.h"

void event_schema_write(struct sbuf *b, struct arena *scratch, const struct schema_message *m)
{
    struct json_types types;

    if (!json_types_init(&types, scratch)) {
        b->bad = true;
        return;
    }
    json_types_add(&types, m);
    json_types_sort(&types);
    char ref[512];
    snprintf(ref, sizeof(ref), JSON_SCHEMA_REF "%s", m->type->name);
    jdoc_open(b, NULL, '{');
    jdoc_text(b, "$schema", "https://json-schema.org/draft/2020-12/schema");
    jdoc_text(b, "title", m->type->name);
    jdoc_text(b, "$ref", ref);
    jdoc_open(b, "components", '{');
    jdoc_open(b, "schemas", '{');
    json_schema_types(b, &types);
    jdoc_close(b, '}');
    jdoc_close(b, '}');
    jdoc_close(b, '}');
}
