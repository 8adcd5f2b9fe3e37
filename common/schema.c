/*
 * schema.c - the embedded descriptor set, joined with the descriptors that protobuf-c generated.
 *
 * The set is unpacked once, what is wanted of it is copied, and the rest is freed: source locations
 * are most of its size. Everything is found through one hash table whose keys are (owner, name):
 * a field has its message as owner, a method its service, a descriptor's own address finds what
 * belongs to it. Nothing changes after schema_init(), so readers need no lock.
 */
#include "common/schema.h"

#include <assert.h>

#include "common/arena.h"
#include "common/schema_data.h"
#include "google/protobuf/descriptor.pb-c.h"

typedef Google__Protobuf__FileDescriptorSet PbSet;
typedef Google__Protobuf__FileDescriptorProto PbFile;
typedef Google__Protobuf__DescriptorProto PbMessage;
typedef Google__Protobuf__FieldDescriptorProto PbField;
typedef Google__Protobuf__EnumDescriptorProto PbEnum;
typedef Google__Protobuf__ServiceDescriptorProto PbService;
typedef Google__Protobuf__MethodDescriptorProto PbMethod;
typedef Google__Protobuf__SourceCodeInfo__Location PbLocation;

#define BUDGET (64 * MIB)
#define NAME_BYTES 512 /* longest full name */
#define PATH_DEPTH 32  /* of a source location; two for each nesting */

/* Field numbers in descriptor.proto that make up the paths of source locations. */
enum { FILE_MESSAGE = 4, FILE_ENUM = 5, FILE_SERVICE = 6, FILE_SYNTAX = 12 };
enum { MESSAGE_FIELD = 2, MESSAGE_NESTED = 3, MESSAGE_ENUM = 4 };
enum { ENUM_VALUE = 2, SERVICE_METHOD = 2 };

struct slot {
    uint64_t hash;
    const void *owner;
    const char *name;
    size_t name_len;
    const void *what; /* NULL: the slot is free */
};

struct enum_comments {
    const ProtobufCEnumDescriptor *type;
    const char **comments; /* in the order of type->values, and at the end its own */
};

static struct {
    struct arena *arena; /* NULL before schema_init() */
    struct slot *slots;
    size_t mask; /* number of slots - 1 */
    struct schema_message *messages;
    struct schema_field **fields; /* messages[i].fields, as long as they are being built */
    size_t nmessages;
    struct schema_service *services;
    size_t nservices;
} schema;

/* Owners of the names that have no other. */
static const char owner_message, owner_enum, owner_service;

static const struct {
    const char *name;
    enum schema_known known;
} known_types[] = {
    { "google.protobuf.Any", SCHEMA_ANY },
    { "google.protobuf.Timestamp", SCHEMA_TIMESTAMP },
    { "google.protobuf.Duration", SCHEMA_DURATION },
    { "google.protobuf.FieldMask", SCHEMA_FIELD_MASK },
    { "google.protobuf.Struct", SCHEMA_STRUCT },
    { "google.protobuf.Value", SCHEMA_VALUE },
    { "google.protobuf.ListValue", SCHEMA_LIST_VALUE },
    { "google.protobuf.DoubleValue", SCHEMA_WRAPPER },
    { "google.protobuf.FloatValue", SCHEMA_WRAPPER },
    { "google.protobuf.Int64Value", SCHEMA_WRAPPER },
    { "google.protobuf.UInt64Value", SCHEMA_WRAPPER },
    { "google.protobuf.Int32Value", SCHEMA_WRAPPER },
    { "google.protobuf.UInt32Value", SCHEMA_WRAPPER },
    { "google.protobuf.BoolValue", SCHEMA_WRAPPER },
    { "google.protobuf.StringValue", SCHEMA_WRAPPER },
    { "google.protobuf.BytesValue", SCHEMA_WRAPPER },
};

static NORETURN void broken(const char *what)
{
    fprintf(stderr, "schema: the embedded contract is broken: %s\n", what);
    abort();
}

static void *must(void *p)
{
    if (!p)
        broken("out of memory");
    return p;
}

/* --- the hash table ------------------------------------------------------------------------- */

static uint64_t hash_key(const void *owner, const char *name, size_t len)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325) ^ ((uintptr_t)owner * UINT64_C(0x9e3779b97f4a7c15));
    for (size_t i = 0; i < len; i++)
        h = (h ^ (uint8_t)name[i]) * UINT64_C(0x100000001b3);
    return h ^ (h >> 32);
}

static struct slot *slot_of(const void *owner, const char *name, size_t len)
{
    uint64_t h = hash_key(owner, name, len);
    for (size_t i = h & schema.mask;; i = (i + 1) & schema.mask) {
        struct slot *s = &schema.slots[i];
        if (!s->what)
            return s;
        if (s->hash == h && s->owner == owner && s->name_len == len &&
            (len == 0 || memcmp(s->name, name, len) == 0))
            return s;
    }
}

static const void *find_n(const void *owner, const char *name, size_t len)
{
    assert(schema.arena); /* schema_init() was forgotten */
    return slot_of(owner, name, len)->what;
}

static const void *find(const void *owner, const char *name)
{
    return find_n(owner, name, strlen(name));
}

/* The first of a key stays: a field is entered by its JSON name and its proto name. */
static void enter(const void *owner, const char *name, const void *what)
{
    size_t len = strlen(name);
    struct slot *s = slot_of(owner, name, len);
    if (!s->what)
        *s = (struct slot){ hash_key(owner, name, len), owner, name, len, what };
}

static void make_slots(size_t nkeys)
{
    size_t n = 64;
    while (n < nkeys * 2)
        n *= 2;
    schema.slots = must(arena_array(schema.arena, n, sizeof(*schema.slots)));
    schema.mask = n - 1;
}

/* --- comments ------------------------------------------------------------------------------- */

struct path {
    int32_t part[PATH_DEPTH];
    size_t n;
};

/* What one file's walk carries along. */
struct walk {
    const PbFile *file;
    struct schema_file *out;
    PbLocation **commented; /* sorted by path */
    size_t ncommented;
};

static struct path path_add(struct path p, int32_t field, size_t index)
{
    if (p.n + 2 > PATH_DEPTH)
        broken("nested too deeply");
    p.part[p.n++] = field;
    p.part[p.n++] = (int32_t)index;
    return p;
}

static int compare_paths(const int32_t *a, size_t na, const int32_t *b, size_t nb)
{
    for (size_t i = 0; i < na && i < nb; i++)
        if (a[i] != b[i])
            return a[i] < b[i] ? -1 : 1;
    return (na > nb) - (na < nb);
}

static int compare_locations(const void *a, const void *b)
{
    const PbLocation *x = *(PbLocation *const *)a, *y = *(PbLocation *const *)b;
    return compare_paths(x->path, x->n_path, y->path, y->n_path);
}

static int compare_path_with_location(const void *key, const void *element)
{
    const struct path *p = key;
    const PbLocation *l = *(PbLocation *const *)element;
    return compare_paths(p->part, p->n, l->path, l->n_path);
}

/* protoc keeps the blank after each `//` and the last line feed. */
static const char *tidy_comment(const char *text)
{
    char *copy = must(arena_strdup(schema.arena, text));
    size_t n = 0;
    bool line_start = true;
    for (const char *p = text; *p; p++) {
        if (line_start && *p == ' ') {
            line_start = false;
            continue;
        }
        line_start = *p == '\n';
        copy[n++] = *p;
    }
    while (n > 0 && (copy[n - 1] == '\n' || copy[n - 1] == ' '))
        n--;
    copy[n] = 0;
    return copy;
}

static const char *comment_at(const struct walk *w, struct path path)
{
    PbLocation **found = NULL;
    if (w->ncommented > 0)
        found = bsearch(&path, w->commented, w->ncommented, sizeof(PbLocation *),
                        compare_path_with_location);
    return found ? tidy_comment((*found)->leading_comments) : NULL;
}

static void sort_comments(struct walk *w, struct arena *scratch)
{
    const Google__Protobuf__SourceCodeInfo *info = w->file->source_code_info;
    if (!info)
        return;
    w->commented = must(arena_array(scratch, info->n_location, sizeof(PbLocation *)));
    for (size_t i = 0; i < info->n_location; i++)
        if (info->location[i]->leading_comments)
            w->commented[w->ncommented++] = info->location[i];
    qsort(w->commented, w->ncommented, sizeof(PbLocation *), compare_locations);
}

/* --- the generated tables ------------------------------------------------------------------- */

static enum schema_known known_by_name(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(known_types); i++)
        if (strcmp(known_types[i].name, name) == 0)
            return known_types[i].known;
    return SCHEMA_PLAIN;
}

/* protoc's rule; used for types the set does not have, the set's own names win. */
static const char *camel_case(const char *name)
{
    char *out = must(arena_strdup(schema.arena, name));
    size_t n = 0;
    bool upper = false;
    for (const char *p = name; *p; p++) {
        if (*p == '_') {
            upper = true;
            continue;
        }
        out[n++] = upper && *p >= 'a' && *p <= 'z' ? (char)(*p - 'a' + 'A') : *p;
        upper = false;
    }
    out[n] = 0;
    return out;
}

static void enter_message(size_t index, const ProtobufCMessageDescriptor *type)
{
    struct schema_message *m = &schema.messages[index];
    struct schema_field *fields = must(arena_array(schema.arena, type->n_fields, sizeof(*fields)));
    for (unsigned i = 0; i < type->n_fields; i++)
        fields[i].field = &type->fields[i];
    *m = (struct schema_message){ .type = type,
                                  .fields = fields,
                                  .known = known_by_name(type->name) };
    schema.fields[index] = fields;
    enter(&owner_message, type->name, m);
    enter(type, "", m);
}

static void enter_enum(const ProtobufCEnumDescriptor *type)
{
    struct enum_comments *c = must(arena_alloc(schema.arena, sizeof(*c)));
    c->type = type;
    c->comments = must(arena_array(schema.arena, type->n_values + 1, sizeof(*c->comments)));
    enter(&owner_enum, type->name, type);
    enter(type, "", c);
}

static void enter_generated_tables(void)
{
    size_t nkeys = 64, n = 0;
    for (; schema_messages[n]; n++)
        nkeys += 2 + 2 * schema_messages[n]->n_fields;
    schema.nmessages = n;
    for (n = 0; schema_enums[n]; n++)
        nkeys += 2;
    nkeys += schema_set_size / 64; /* services and methods: each takes far more bytes than that */
    make_slots(nkeys);
    schema.messages = must(arena_array(schema.arena, schema.nmessages, sizeof(*schema.messages)));
    schema.fields = must(arena_array(schema.arena, schema.nmessages, sizeof(*schema.fields)));
    for (size_t i = 0; i < schema.nmessages; i++)
        enter_message(i, schema_messages[i]);
    for (size_t i = 0; schema_enums[i]; i++)
        enter_enum(schema_enums[i]);
}

/* --- the descriptor set --------------------------------------------------------------------- */

static const char *full_name(char buf[static NAME_BYTES], const char *scope, const char *name)
{
    bool nested = scope && *scope;
    int n = snprintf(buf, NAME_BYTES, "%s%s%s", nested ? scope : "", nested ? "." : "", name);
    if (n < 0 || n >= NAME_BYTES)
        broken(name);
    return buf;
}

/* The tables are immutable for everybody but the one who is still building them. */
static struct schema_message *message_being_built(const char *name)
{
    const struct schema_message *m = find(&owner_message, name);
    return m ? &schema.messages[m - schema.messages] : NULL;
}

static void join_field(const struct walk *w, const struct schema_message *m, const PbMessage *pb,
                       size_t i, struct path path)
{
    const PbField *f = pb->field[i];
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field(m->type, (unsigned)f->number);
    if (!field)
        broken(f->name);
    struct schema_field *sf = &schema.fields[m - schema.messages][field - m->type->fields];
    if (f->json_name)
        sf->json_name = must(arena_strdup(schema.arena, f->json_name));
    if (f->has_oneof_index && (size_t)f->oneof_index < pb->n_oneof_decl)
        sf->oneof = must(arena_strdup(schema.arena, pb->oneof_decl[f->oneof_index]->name));
    sf->comment = comment_at(w, path_add(path, MESSAGE_FIELD, i));
}

static void join_enum(const struct walk *w, const char *scope, const PbEnum *pb, struct path path)
{
    char name[NAME_BYTES];
    const ProtobufCEnumDescriptor *type = find(&owner_enum, full_name(name, scope, pb->name));
    if (!type)
        broken(name);
    const struct enum_comments *c = find(type, "");
    c->comments[type->n_values] = comment_at(w, path);
    for (size_t i = 0; i < pb->n_value; i++) {
        const ProtobufCEnumValue *v =
            protobuf_c_enum_descriptor_get_value(type, pb->value[i]->number);
        if (v && !c->comments[v - type->values])
            c->comments[v - type->values] = comment_at(w, path_add(path, ENUM_VALUE, i));
    }
}

static void join_message(const struct walk *w, const char *scope, const PbMessage *pb,
                         struct path path)
{
    char name[NAME_BYTES];
    struct schema_message *m = message_being_built(full_name(name, scope, pb->name));
    if (!m)
        broken(name);
    m->is_map_entry = pb->options && pb->options->map_entry;
    m->file = w->out;
    m->comment = comment_at(w, path);
    for (size_t i = 0; i < pb->n_field; i++)
        join_field(w, m, pb, i, path);
    for (size_t i = 0; i < pb->n_nested_type; i++)
        join_message(w, name, pb->nested_type[i], path_add(path, MESSAGE_NESTED, i));
    for (size_t i = 0; i < pb->n_enum_type; i++)
        join_enum(w, name, pb->enum_type[i], path_add(path, MESSAGE_ENUM, i));
}

static const ProtobufCMessageDescriptor *method_type(const char *dotted_name)
{
    const struct schema_message *m = schema_find_message(dotted_name + (*dotted_name == '.'));
    if (!m)
        broken(dotted_name);
    return m->type;
}

static void join_method(const struct walk *w, const struct schema_service *s,
                        struct schema_method *method, const PbMethod *pb, struct path path)
{
    int level = pb->options ? (int)pb->options->idempotency_level : 0;
    bool none = level == GOOGLE__PROTOBUF__METHOD_OPTIONS__IDEMPOTENCY_LEVEL__NO_SIDE_EFFECTS;
    bool same = level == GOOGLE__PROTOBUF__METHOD_OPTIONS__IDEMPOTENCY_LEVEL__IDEMPOTENT;
    *method = (struct schema_method){
        .service = s->name,
        .name = must(arena_strdup(schema.arena, pb->name)),
        .input = method_type(pb->input_type),
        .output = method_type(pb->output_type),
        .no_side_effects = none,
        .idempotent = none || same,
        .server_stream = pb->server_streaming,
        .client_stream = pb->client_streaming,
        .comment = comment_at(w, path),
    };
}

static void join_service(const struct walk *w, struct schema_service *s, const PbService *pb,
                         struct path path)
{
    char name[NAME_BYTES];
    struct schema_method *methods = must(arena_array(schema.arena, pb->n_method, sizeof(*methods)));
    s->name = must(arena_strdup(schema.arena, full_name(name, w->file->package, pb->name)));
    for (size_t i = 0; i < pb->n_method; i++)
        join_method(w, s, &methods[i], pb->method[i], path_add(path, SERVICE_METHOD, i));
    s->methods = methods;
    s->nmethods = pb->n_method;
    s->file = w->out;
    s->comment = comment_at(w, path);
}

static void join_file(const PbFile *file)
{
    struct arena *scratch = must(arena_new(BUDGET));
    struct walk w = { .file = file, .out = must(arena_alloc(schema.arena, sizeof(*w.out))) };
    const struct path root = { .n = 0 }, syntax = { .part = { FILE_SYNTAX }, .n = 1 };

    sort_comments(&w, scratch);
    *w.out = (struct schema_file){
        .name = must(arena_strdup(schema.arena, file->name)),
        .package = must(arena_strdup(schema.arena, file->package ? file->package : "")),
        .comment = comment_at(&w, syntax),
    };
    for (size_t i = 0; i < file->n_message_type; i++)
        join_message(&w, file->package, file->message_type[i], path_add(root, FILE_MESSAGE, i));
    for (size_t i = 0; i < file->n_enum_type; i++)
        join_enum(&w, file->package, file->enum_type[i], path_add(root, FILE_ENUM, i));
    for (size_t i = 0; i < file->n_service; i++)
        join_service(&w, &schema.services[schema.nservices++], file->service[i],
                     path_add(root, FILE_SERVICE, i));
    arena_free(scratch);
}

static int compare_services(const void *a, const void *b)
{
    const struct schema_service *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static void join_set(const PbSet *set)
{
    size_t nservices = 0;
    for (size_t i = 0; i < set->n_file; i++)
        nservices += set->file[i]->n_service;
    schema.services = must(arena_array(schema.arena, nservices, sizeof(*schema.services)));
    for (size_t i = 0; i < set->n_file; i++)
        join_file(set->file[i]);
    qsort(schema.services, schema.nservices, sizeof(*schema.services), compare_services);
    for (size_t i = 0; i < schema.nservices; i++) {
        const struct schema_service *s = &schema.services[i];
        enter(&owner_service, s->name, s);
        for (size_t j = 0; j < s->nmethods; j++)
            enter(s, s->methods[j].name, &s->methods[j]);
    }
}

/* --- what follows from both ----------------------------------------------------------------- */

static void finish_fields(size_t index)
{
    const struct schema_message *m = &schema.messages[index];
    for (unsigned i = 0; i < m->type->n_fields; i++) {
        struct schema_field *f = &schema.fields[index][i];
        if (!f->json_name)
            f->json_name = camel_case(f->field->name);
        if (f->field->type == PROTOBUF_C_TYPE_MESSAGE) {
            f->message = schema_of(f->field->descriptor);
            f->is_map = f->field->label == PROTOBUF_C_LABEL_REPEATED && f->message->is_map_entry;
        } else if (f->field->type == PROTOBUF_C_TYPE_ENUM) {
            const ProtobufCEnumDescriptor *e = f->field->descriptor;
            f->is_null_value = strcmp(e->name, "google.protobuf.NullValue") == 0;
        }
        enter(m, f->json_name, f);
        enter(m, f->field->name, f);
    }
}

/* Whether start is reachable from itself: a walk over the graph of types with a list of its own. */
static bool is_recursive(const struct schema_message *start, const struct schema_message **todo,
                         bool *seen)
{
    size_t n = 0;
    memset(seen, 0, schema.nmessages);
    todo[n++] = start;
    while (n > 0) {
        const struct schema_message *m = todo[--n];
        for (unsigned i = 0; i < m->type->n_fields; i++) {
            const struct schema_message *next = m->fields[i].message;
            if (next == start)
                return true;
            if (!next || seen[next - schema.messages])
                continue;
            seen[next - schema.messages] = true;
            todo[n++] = next;
        }
    }
    return false;
}

static void finish_messages(void)
{
    struct arena *scratch = must(arena_new(BUDGET));
    const struct schema_message **todo =
        must(arena_array(scratch, schema.nmessages + 1, sizeof(*todo)));
    bool *seen = must(arena_array(scratch, schema.nmessages, sizeof(*seen)));

    for (size_t i = 0; i < schema.nmessages; i++)
        finish_fields(i);
    for (size_t i = 0; i < schema.nmessages; i++)
        schema.messages[i].is_recursive = is_recursive(&schema.messages[i], todo, seen);
    arena_free(scratch);
}

void schema_init(void)
{
    if (schema.arena)
        return;
    PbSet *set = google__protobuf__file_descriptor_set__unpack(NULL, schema_set_size, schema_set);
    if (!set)
        broken("the descriptor set is not readable");
    schema.arena = must(arena_new(BUDGET));
    enter_generated_tables();
    join_set(set);
    finish_messages();
    google__protobuf__file_descriptor_set__free_unpacked(set, NULL);
}

void schema_fini(void)
{
    arena_free(schema.arena);
    memset(&schema, 0, sizeof(schema));
}

const struct schema_message *schema_find_message(const char *full_name_text)
{
    return find(&owner_message, full_name_text);
}

const struct schema_message *schema_of(const ProtobufCMessageDescriptor *type)
{
    const struct schema_message *m = find(type, "");
    assert(m); /* a type whose .proto is not in the contract */
    return m;
}

const char *schema_scalar_name(ProtobufCType type)
{
    static const char *const names[] = {
        [PROTOBUF_C_TYPE_INT32] = "int32",       [PROTOBUF_C_TYPE_SINT32] = "sint32",
        [PROTOBUF_C_TYPE_SFIXED32] = "sfixed32", [PROTOBUF_C_TYPE_INT64] = "int64",
        [PROTOBUF_C_TYPE_SINT64] = "sint64",     [PROTOBUF_C_TYPE_SFIXED64] = "sfixed64",
        [PROTOBUF_C_TYPE_UINT32] = "uint32",     [PROTOBUF_C_TYPE_FIXED32] = "fixed32",
        [PROTOBUF_C_TYPE_UINT64] = "uint64",     [PROTOBUF_C_TYPE_FIXED64] = "fixed64",
        [PROTOBUF_C_TYPE_FLOAT] = "float",       [PROTOBUF_C_TYPE_DOUBLE] = "double",
        [PROTOBUF_C_TYPE_BOOL] = "bool",         [PROTOBUF_C_TYPE_STRING] = "string",
        [PROTOBUF_C_TYPE_BYTES] = "bytes",
    };
    return (size_t)type < ARRAY_LEN(names) && names[type] ? names[type] : "?";
}

const ProtobufCEnumDescriptor *schema_find_enum(const char *full_name_text)
{
    return find(&owner_enum, full_name_text);
}

const struct schema_service *schema_find_service(const char *full_name_text)
{
    return find(&owner_service, full_name_text);
}

const struct schema_method *schema_find_method(const char *service, const char *method)
{
    const struct schema_service *s = schema_find_service(service);
    return s ? find(s, method) : NULL;
}

const struct schema_service *schema_services(size_t *n_out)
{
    *n_out = schema.nservices;
    return schema.services;
}

const struct schema_message *schema_all_messages(size_t *n_out)
{
    *n_out = schema.nmessages;
    return schema.messages;
}

bool schema_is_event(const struct schema_message *m)
{
    static const char begin[] = "daybook/", end[] = "/v1/events.proto";
    size_t len = m->file ? strlen(m->file->name) : 0;

    return len >= sizeof(end) && strncmp(m->file->name, begin, sizeof(begin) - 1) == 0 &&
           !m->is_map_entry && strcmp(m->file->name + len - (sizeof(end) - 1), end) == 0;
}

const struct schema_field *schema_find_field(const struct schema_message *m, const char *name,
                                             size_t name_len)
{
    return name_len > 0 ? find_n(m, name, name_len) : NULL;
}

const char *schema_enum_comment(const ProtobufCEnumDescriptor *e)
{
    const struct enum_comments *c = find(e, "");
    return c ? c->comments[e->n_values] : NULL;
}

const char *schema_enum_value_comment(const ProtobufCEnumDescriptor *e, int value)
{
    const struct enum_comments *c = find(e, "");
    const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(e, value);
    return c && v ? c->comments[v - e->values] : NULL;
}

const uint8_t *schema_descriptor_set(size_t *len_out)
{
    *len_out = schema_set_size;
    return schema_set;
}
