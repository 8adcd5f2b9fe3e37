/*
 * validate.c - walks a message along each path of the table.
 *
 * A path is looked up by field names at each request: a binary search a segment, cheaper than
 * keeping resolved tables for every type. A path that the message does not have is our own mistake
 * and shows at the first request that is checked (assert).
 */
#include "common/validate.h"

#include <assert.h>
#include <ctype.h>

#include "common/call_state.h"
#include "common/id.h"
#include "common/pb_access.h"
#include "common/tz.h"
#include "common/utf8.h"

#define FIELD_PATH_MAX 128
#define YEAR_1970_S INT64_C(0)
#define YEAR_2201_S INT64_C(7289654400)
#define NANOS_MAX 999999999
/* What is asked of a list as a whole; all else is asked of each element. */
#define LIST_KINDS (CHECK_REQUIRED | CHECK_COUNT)

struct walk {
    struct call *call;
    const struct check *check;
    char path[FIELD_PATH_MAX]; /* of the field under test, with indexes */
    size_t len;
};

/* A value that was found: singular field, or element of a list. */
struct value {
    const ProtobufCFieldDescriptor *field;
    const void *at;
    bool present; /* false: a sub-message or oneof member that is not set */
};

static void fault(struct walk *w, const char *reason, const char *fmt, ...) PRINTF(3, 4);

static void fault(struct walk *w, const char *reason, const char *fmt, ...)
{
    char text[160];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    call_violation_reason(w->call, reason, w->path, "%s", text);
}

static void path_add(struct walk *w, const char *fmt, ...) PRINTF(2, 3);

static void path_add(struct walk *w, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    int n = vsnprintf(w->path + w->len, sizeof w->path - w->len, fmt, ap);
    va_end(ap);
    assert(n >= 0);
    w->len = MIN(w->len + (size_t)n, sizeof w->path - 1);
}

static void path_cut(struct walk *w, size_t len)
{
    w->len = len;
    w->path[len] = '\0';
}

/* --- single values --- */

static bool is_timestamp(const struct value *v)
{
    return v->field->type == PROTOBUF_C_TYPE_MESSAGE &&
           strcmp(((const ProtobufCMessageDescriptor *)v->field->descriptor)->name,
                  "google.protobuf.Timestamp") == 0;
}

static int32_t enum_of(const struct value *v)
{
    int32_t n;
    memcpy(&n, v->at, sizeof n);
    return n;
}

static size_t bytes_len(const struct value *v)
{
    ProtobufCBinaryData b;
    memcpy(&b, v->at, sizeof b);
    return b.len;
}

#define READ_AS(type)                                                                              \
    {                                                                                              \
        type n;                                                                                    \
        memcpy(&n, v->at, sizeof n);                                                               \
        return (double)n;                                                                          \
    }

static double number_of(const struct value *v)
{
    switch (v->field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_ENUM:
        READ_AS(int32_t)
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        READ_AS(uint32_t)
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        READ_AS(int64_t)
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        READ_AS(uint64_t)
    case PROTOBUF_C_TYPE_FLOAT:
        READ_AS(float)
    case PROTOBUF_C_TYPE_DOUBLE:
        READ_AS(double)
    case PROTOBUF_C_TYPE_BOOL:
        READ_AS(protobuf_c_boolean)
    default:
        assert(!"a number was expected");
        return 0;
    }
}

static const char *text_of(const struct value *v)
{
    assert(v->field->type == PROTOBUF_C_TYPE_STRING);
    return pb_text(v->at);
}

static bool is_empty(const struct value *v)
{
    if (!v->present)
        return true;
    switch (v->field->type) {
    case PROTOBUF_C_TYPE_MESSAGE:
        return false;
    case PROTOBUF_C_TYPE_STRING:
        return text_of(v)[0] == '\0';
    case PROTOBUF_C_TYPE_BYTES:
        return bytes_len(v) == 0;
    default:
        return number_of(v) == 0;
    }
}

/* Ids are compared as texts further on: they are given the one form that we write ourselves. The
 * message is the call's own, in its arena. */
static void put_in_our_form(const struct value *v, struct id id)
{
    char ours[ID_TEXT_MAX];

    if (strcmp(text_of(v), id_text(id, ours)) != 0)
        memcpy(*(char *const *)v->at, ours, strlen(ours));
}

static void check_id(struct walk *w, const struct value *v)
{
    struct id id;

    if (is_empty(v))
        return;
    if (id_parse(text_of(v), &id))
        put_in_our_form(v, id);
    else
        fault(w, "MALFORMED", "must be a UUID, such as 01890a5d-ac96-774b-bcce-b302099a8057");
}

static void check_length(struct walk *w, const struct value *v)
{
    if (is_empty(v))
        return;
    bool text = v->field->type == PROTOBUF_C_TYPE_STRING;
    double n = (double)(text ? utf8_length(text_of(v)) : bytes_len(v));
    const char *unit = text ? "characters" : "bytes";

    if (n < w->check->min)
        fault(w, "TOO_SHORT", "must have at least %.0f %s", w->check->min, unit);
    else if (n > w->check->max)
        fault(w, "TOO_LONG", "must have at most %.0f %s", w->check->max, unit);
}

static void check_range(struct walk *w, const struct value *v)
{
    if (!v->present)
        return;
    double n = number_of(v);
    if (!(n >= w->check->min && n <= w->check->max)) /* NaN too */
        fault(w, "OUT_OF_RANGE", "must be from %.15g to %.15g", w->check->min, w->check->max);
}

static void check_enum(struct walk *w, const struct value *v)
{
    assert(v->field->type == PROTOBUF_C_TYPE_ENUM);
    if (v->present &&
        protobuf_c_enum_descriptor_get_value(v->field->descriptor, enum_of(v)) == NULL)
        fault(w, "UNKNOWN_VALUE", "%" PRId32 " is not a value of this enum", enum_of(v));
}

static void check_date(struct walk *w, const struct value *v)
{
    struct date d;

    if (!is_empty(v) && !date_parse(text_of(v), &d))
        fault(w, "MALFORMED", "must be a day, written YYYY-MM-DD");
}

static void check_time(struct walk *w, const struct value *v)
{
    assert(is_timestamp(v));
    if (!v->present)
        return;
    const Google__Protobuf__Timestamp *t = (const void *)pb_message(v->at);
    if (t->seconds < YEAR_1970_S || t->seconds >= YEAR_2201_S || t->nanos < 0 ||
        t->nanos > NANOS_MAX)
        fault(w, "OUT_OF_RANGE", "must be a time in the years 1970 to 2200");
}

static void check_currency(struct walk *w, const struct value *v)
{
    const char *s = text_of(v);

    if (!is_empty(v) && (strlen(s) != 3 || strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != 3))
        fault(w, "MALFORMED", "must be an ISO 4217 code: three capital letters");
}

static void check_code(struct walk *w, const struct value *v)
{
    for (const char *s = is_empty(v) ? "" : text_of(v); *s; s++) {
        if (isascii((unsigned char)*s) && (isalnum((unsigned char)*s) || strchr("._-", *s)))
            continue;
        fault(w, "MALFORMED", "may have letters, digits, full stop, underscore and hyphen only");
        return;
    }
}

static const struct {
    enum check_kind kind;
    void (*fn)(struct walk *w, const struct value *v);
} kind_checks[] = {
    { CHECK_ID, check_id },     { CHECK_LENGTH, check_length },     { CHECK_RANGE, check_range },
    { CHECK_ENUM, check_enum }, { CHECK_DATE, check_date },         { CHECK_TIME, check_time },
    { CHECK_CODE, check_code }, { CHECK_CURRENCY, check_currency },
};

static void check_value(struct walk *w, const struct value *v, int kinds)
{
    if ((kinds & CHECK_REQUIRED) && is_empty(v)) {
        fault(w, "REQUIRED", "is required");
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(kind_checks); i++)
        if (kinds & (int)kind_checks[i].kind)
            kind_checks[i].fn(w, v);
}

/* --- paths --- */

static void check_list(struct walk *w, size_t n)
{
    if ((w->check->kinds & CHECK_REQUIRED) && n == 0)
        fault(w, "REQUIRED", "at least one is required");
    else if ((w->check->kinds & CHECK_COUNT) && (double)n < w->check->min)
        fault(w, "TOO_FEW", "must have at least %.0f elements", w->check->min);
    else if ((w->check->kinds & CHECK_COUNT) && (double)n > w->check->max)
        fault(w, "TOO_MANY", "must have at most %.0f elements", w->check->max);
}

static void walk_message(struct walk *w, const ProtobufCMessage *m, const char *path);

/* The value at a path's end, or the message from which it goes on. */
static void visit_value(struct walk *w, const struct value *v, const char *rest, int kinds)
{
    if (*rest == '\0')
        check_value(w, v, kinds);
    else if (v->present)
        walk_message(w, pb_message(v->at), rest + 1);
}

static void visit_elements(struct walk *w, const ProtobufCMessage *m,
                           const ProtobufCFieldDescriptor *f, const char *rest, int kinds)
{
    size_t len = w->len, n = pb_count(m, f);

    for (size_t i = 0; i < n; i++) {
        struct value v = { .field = f, .at = pb_element(m, f, i), .present = true };
        path_add(w, "[%zu]", i);
        visit_value(w, &v, rest, kinds);
        path_cut(w, len);
    }
}

static void visit_list(struct walk *w, const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f,
                       const char *rest)
{
    if (strncmp(rest, "[]", 2) == 0) {
        visit_elements(w, m, f, rest + 2, w->check->kinds);
        return;
    }
    assert(*rest == '\0'); /* "list.member" must be written "list[].member" */
    check_list(w, pb_count(m, f));
    if (w->check->kinds & ~LIST_KINDS)
        visit_elements(w, m, f, rest, w->check->kinds & ~LIST_KINDS);
}

static void walk_message(struct walk *w, const ProtobufCMessage *m, const char *path)
{
    size_t len = w->len, name_len = strcspn(path, ".[");
    char name[64];

    assert(name_len < sizeof name);
    memcpy(name, path, name_len);
    name[name_len] = '\0';
    const ProtobufCFieldDescriptor *f =
        protobuf_c_message_descriptor_get_field_by_name(m->descriptor, name);
    assert(f); /* the table names a field that the message does not have */

    path_add(w, "%s%s", len ? "." : "", name);
    if (f->label == PROTOBUF_C_LABEL_REPEATED) {
        visit_list(w, m, f, path + name_len);
    } else {
        struct value v = { .field = f,
                           .at = pb_member(m, f),
                           .present = !pb_has_presence(f) || pb_is_set(m, f) };
        visit_value(w, &v, path + name_len, w->check->kinds);
    }
    path_cut(w, len);
}

enum err validate(struct call *call, const ProtobufCMessage *message, const struct check *checks)
{
    for (; checks->path; checks++) {
        struct walk w = { .call = call, .check = checks };
        walk_message(&w, message, checks->path);
    }
    return call_violations(call);
}
