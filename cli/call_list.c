/*
 * call_list.c - what there is to call: services, methods, and messages with their comments, written
 * as in the .proto files. All of it is in the program; the bus is not asked.
 */
#include "cli/rows.h"
#include "common/schema.h"

#define TYPES_MAX 200 /* shown at once */

/* --- --list ----------------------------------------------------------------------------------- */

static size_t first_sentence(const char *comment)
{
    const char *end = strchr(comment, '\n');
    return end ? (size_t)(end - comment) : strlen(comment);
}

static void list_methods(const struct schema_service *s)
{
    for (size_t i = 0; i < s->nmethods; i++) {
        const struct schema_method *m = &s->methods[i];
        const char *comment = m->comment ? m->comment : "";
        (void)printf("%s/%s%s%.*s\n", s->name, m->name, *comment ? "  # " : "",
                     (int)first_sentence(comment), comment);
    }
}

static void list_json(const struct schema_service *services, size_t n)
{
    (void)printf("[");
    for (size_t i = 0; i < n; i++) {
        (void)printf("%s{\"service\":\"%s\",\"methods\":[", i ? "," : "", services[i].name);
        for (size_t k = 0; k < services[i].nmethods; k++)
            (void)printf("%s\"%s\"", k ? "," : "", services[i].methods[k].name);
        (void)printf("]}");
    }
    (void)printf("]\n");
}

int call_list(struct cli *c, const char *service)
{
    size_t n;
    const struct schema_service *all = schema_services(&n);
    const struct schema_service *one = service ? call_find_service(service) : NULL;
    if (service && !one)
        return cli_usage(c, "there is no service %.100s", service);
    if (c->json)
        list_json(one ? one : all, one ? 1 : n);
    else if (one)
        list_methods(one);
    else
        for (size_t i = 0; i < n; i++)
            (void)printf("%s\n", all[i].name);
    return 0;
}

/* --- --describe ------------------------------------------------------------------------------- */

/* Types still to be shown, each once, in the order in which they are met. */
struct queue {
    const void *types[TYPES_MAX]; /* message or enum descriptors */
    bool is_enum[TYPES_MAX];
    size_t n;
};

static void enqueue(struct queue *q, const void *type, bool is_enum)
{
    for (size_t i = 0; i < q->n; i++)
        if (q->types[i] == type)
            return;
    if (q->n < TYPES_MAX) {
        q->types[q->n] = type;
        q->is_enum[q->n++] = is_enum;
    }
}

static void print_comment(FILE *out, const char *comment, const char *indent)
{
    while (comment && *comment) {
        size_t len = first_sentence(comment);
        (void)fprintf(out, "%s// %.*s\n", indent, (int)len, comment);
        comment += len;
        comment += *comment == '\n';
    }
}

static const char *type_name(const ProtobufCFieldDescriptor *f)
{
    if (f->type == PROTOBUF_C_TYPE_MESSAGE)
        return ((const ProtobufCMessageDescriptor *)f->descriptor)->name;
    if (f->type == PROTOBUF_C_TYPE_ENUM)
        return ((const ProtobufCEnumDescriptor *)f->descriptor)->name;
    return schema_scalar_name(f->type);
}

static void print_field(FILE *out, const struct schema_field *sf, struct queue *q)
{
    const ProtobufCFieldDescriptor *f = sf->field;
    print_comment(out, sf->comment, "  ");
    if (sf->is_map && sf->message) {
        const ProtobufCFieldDescriptor *value = sf->message->fields[1].field;
        (void)fprintf(out, "  map<%s, %s> %s = %u;", type_name(sf->message->fields[0].field),
                      type_name(value), f->name, f->id);
        f = value;
    } else {
        (void)fprintf(out, "  %s%s %s = %u;",
                      f->label == PROTOBUF_C_LABEL_REPEATED ? "repeated " : "", type_name(f),
                      f->name, f->id);
    }
    if (sf->oneof)
        (void)fprintf(out, "  // one of %s", sf->oneof);
    (void)fprintf(out, "\n");
    if (f->type == PROTOBUF_C_TYPE_ENUM)
        enqueue(q, f->descriptor, true);
    else if (f->type == PROTOBUF_C_TYPE_MESSAGE)
        enqueue(q, f->descriptor, false);
}

static void print_message(FILE *out, const ProtobufCMessageDescriptor *type, struct queue *q)
{
    const struct schema_message *m = schema_of(type);
    if (m->known != SCHEMA_PLAIN)
        return; /* Timestamp and its like have a JSON form of their own */
    print_comment(out, m->comment, "");
    (void)fprintf(out, "message %s {\n", type->name);
    for (unsigned i = 0; i < type->n_fields; i++)
        print_field(out, &m->fields[i], q);
    (void)fprintf(out, "}\n\n");
}

static void print_enum(FILE *out, const ProtobufCEnumDescriptor *e)
{
    (void)fprintf(out, "enum %s {\n", e->name);
    for (unsigned i = 0; i < e->n_values; i++) {
        print_comment(out, schema_enum_value_comment(e, e->values[i].value), "  ");
        (void)fprintf(out, "  %s = %d;\n", e->values[i].name, e->values[i].value);
    }
    (void)fprintf(out, "}\n\n");
}

static void print_queue(FILE *out, struct queue *q)
{
    for (size_t i = 0; i < q->n; i++) /* grows meanwhile */
        if (q->is_enum[i])
            print_enum(out, q->types[i]);
        else
            print_message(out, q->types[i], q);
}

static void print_method(FILE *out, const struct schema_method *m, const char *indent)
{
    print_comment(out, m->comment, indent);
    (void)fprintf(out, "%srpc %s(%s) returns (%s);%s\n", indent, m->name, m->input->name,
                  m->output->name, m->no_side_effects ? "  // changes nothing" : "");
}

static void describe_service(FILE *out, const struct schema_service *s)
{
    print_comment(out, s->comment, "");
    (void)fprintf(out, "service %s {\n", s->name);
    for (size_t i = 0; i < s->nmethods; i++)
        print_method(out, &s->methods[i], "  ");
    (void)fprintf(out, "}\n");
}

static const struct schema_method *method_of(struct cli *c, const char *name)
{
    const char *slash = strrchr(name, '/');
    if (!slash)
        slash = strrchr(name, '.');
    char *service = slash ? arena_strndup(c->arena, name, (size_t)(slash - name)) : NULL;
    const struct schema_service *s = service ? call_find_service(service) : NULL;
    return s ? schema_find_method(s->name, slash + 1) : NULL;
}

static bool describe(struct cli *c, FILE *out, const char *name)
{
    struct queue q = { .n = 0 };
    const struct schema_service *service = call_find_service(name);
    const struct schema_method *method = service ? NULL : method_of(c, name);
    const struct schema_message *message = schema_find_message(name);
    const ProtobufCEnumDescriptor *e = schema_find_enum(name);

    if (service) {
        describe_service(out, service);
        return true;
    }
    if (method) {
        print_method(out, method, "");
        (void)fprintf(out, "\n");
        enqueue(&q, method->input, false);
        enqueue(&q, method->output, false);
    } else if (message) {
        enqueue(&q, message->type, false);
    } else if (e) {
        enqueue(&q, e, true);
    } else {
        return false;
    }
    print_queue(out, &q);
    return true;
}

int call_describe(struct cli *c, const char *name)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = c->json ? open_memstream(&text, &len) : stdout;
    if (!out)
        return cli_fail(c, ERR_RESOURCE_EXHAUSTED, "out of memory");
    bool found = describe(c, out, name);
    int status = 0;
    if (c->json)
        (void)fclose(out);
    if (!found)
        status = cli_usage(c, "nothing is called %.100s; services: daybook call --list", name);
    else if (c->json)
        status = rows_print_json(c, json_pack("{s:s,s:s}", "name", name, "definition", text));
    free(text);
    return status;
}
