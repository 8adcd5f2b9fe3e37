/*
 * protojson_scalar.c - one JSON value to one number, bool, text, bytes or enum.
 */
#include "common/protojson_scalar.h"

#include <limits.h>
#include <math.h>

#include "common/pb_access.h"
#include "common/protojson.h"
#include "common/protojson_text.h"
#include "common/wire_nul.h"

typedef struct pj_reader Reader;
typedef struct pj_text Text;

bool pj_text_is(const Text *t, const char *s)
{
    return t->n == strlen(s) && memcmp(t->p, s, t->n) == 0;
}

/* The text of a number, bare or in quotes. */
static enum err read_number(Reader *r, Text *out, bool *quoted_out)
{
    char c = pj_peek(r);
    *quoted_out = c == '"';
    if (*quoted_out)
        return pj_string(r, out);
    if (c != '-' && (c < '0' || c > '9'))
        return pj_fail(r, "must be a number");
    return pj_number(r, out);
}

static enum err read_integer(Reader *r, bool *negative_out, uint64_t *magnitude_out)
{
    Text text;
    bool quoted;
    enum err e = read_number(r, &text, &quoted);
    if (e)
        return e;
    switch (pj_integer_parse(text.p, text.n, negative_out, magnitude_out)) {
    case PJ_INTEGER_OK:
        return ERR_OK;
    case PJ_INTEGER_SYNTAX:
        return pj_fail(r, "must be a number");
    case PJ_INTEGER_FRACTION:
        return pj_fail(r, "must be a whole number");
    default:
        return pj_fail(r, "is out of range");
    }
}

static enum err read_signed(Reader *r, int64_t min, int64_t max, int64_t *out)
{
    bool negative = false;
    uint64_t v = 0;
    enum err e = read_integer(r, &negative, &v);
    if (e)
        return e;
    if (v > (negative ? -(uint64_t)min : (uint64_t)max))
        return pj_fail(r, "is out of range");
    *out = negative ? (int64_t)-v : (int64_t)v;
    return ERR_OK;
}

static enum err read_unsigned(Reader *r, uint64_t max, uint64_t *out)
{
    bool negative = false;
    uint64_t v = 0;
    enum err e = read_integer(r, &negative, &v);
    if (e)
        return e;
    if (v > max || (negative && v > 0))
        return pj_fail(r, "is out of range");
    *out = v;
    return ERR_OK;
}

static bool special_double(const Text *t, double *out)
{
    if (pj_text_is(t, "NaN"))
        *out = (double)NAN;
    else if (pj_text_is(t, "Infinity"))
        *out = (double)INFINITY;
    else if (pj_text_is(t, "-Infinity"))
        *out = (double)-INFINITY;
    else
        return false;
    return true;
}

/* narrow: as a float, which is rounded once and not through double. */
static enum err read_real(Reader *r, bool narrow, double *out)
{
    Text text;
    bool quoted;
    enum err e = read_number(r, &text, &quoted);
    if (e)
        return e;
    if (quoted && special_double(&text, out))
        return ERR_OK;
    if (text.n == 0 || pj_number_length(text.p, text.p + text.n) != text.n)
        return pj_fail(r, "must be a number");
    char small[64], *copy = text.n < sizeof(small) ? small : pj_take(r, text.n + 1, 1);
    if (!copy)
        return pj_full(r);
    memcpy(copy, text.p, text.n);
    copy[text.n] = 0;
    double v = narrow ? (double)strtof(copy, NULL) : strtod(copy, NULL);
    if (isinf(v))
        return pj_fail(r, "is out of range");
    *out = v;
    return ERR_OK;
}

static enum err read_bool(Reader *r, protobuf_c_boolean *out)
{
    if (pj_word(r, "true"))
        *out = true;
    else if (pj_word(r, "false"))
        *out = false;
    else
        return pj_fail(r, "must be true or false");
    return ERR_OK;
}

enum err pj_keep_text(Reader *r, const Text *text, char **out)
{
    if (text->n > r->limits->max_string &&
        wire_nul_length(text->p, text->n) > r->limits->max_string)
        return pj_fail(r, "longer than %zu bytes", r->limits->max_string);
    if (text->in_arena) {
        *out = (char *)(uintptr_t)text->p; /* was made by unescape(), NUL-terminated */
        return ERR_OK;
    }
    char *copy = pj_take(r, text->n + 1, 1);
    if (!copy)
        return pj_full(r);
    memcpy(copy, text->p, text->n);
    *out = copy;
    return ERR_OK;
}

static enum err read_text(Reader *r, char **out)
{
    Text text;
    enum err e = pj_string(r, &text);
    return e ? e : pj_keep_text(r, &text, out);
}

static enum err read_bytes(Reader *r, ProtobufCBinaryData *out)
{
    Text text;
    enum err e = pj_string(r, &text);
    if (e)
        return e;
    uint8_t *data = pj_take(r, text.n / 4 * 3 + 3, 1);
    if (!data)
        return pj_full(r);
    if (!pj_base64_parse(text.p, text.n, data, &out->len))
        return pj_fail(r, "must be base64");
    if (out->len > r->limits->max_bytes_field)
        return pj_fail(r, "longer than %zu bytes", r->limits->max_bytes_field);
    out->data = data;
    return ERR_OK;
}

/* A name that is not known leaves the field unset, where unknown things are ignored. */
static enum err read_enum(Reader *r, const struct schema_field *sf, int32_t *out, bool *dropped_out)
{
    const ProtobufCEnumDescriptor *type = sf->field->descriptor;
    int64_t number;
    char c = pj_peek(r);
    enum err e;

    if (sf->is_null_value && pj_word(r, "null")) {
        *out = 0;
        return ERR_OK;
    }
    if (c == '"') {
        char *name = NULL;
        e = read_text(r, &name);
        if (e)
            return e;
        const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value_by_name(type, name);
        if (!v && (r->flags & PROTOJSON_STRICT))
            return pj_fail(r, "is not a name of %s", type->name);
        if (!v)
            *dropped_out = true;
        *out = v ? v->value : 0;
        return ERR_OK;
    }
    if (c != '-' && (c < '0' || c > '9'))
        return pj_fail(r, "must be a name of %s", type->name);
    e = read_signed(r, INT32_MIN, INT32_MAX, &number);
    if (e)
        return e;
    *out = (int32_t)number;
    return ERR_OK;
}

#define STORE(type, value, out)                                                                    \
    do {                                                                                           \
        type store_value = (value);                                                                \
        memcpy((out), &store_value, sizeof(store_value));                                          \
    } while (0)

enum err pj_read_scalar(Reader *r, const struct schema_field *sf, void *out, bool *dropped_out)
{
    int64_t i = 0;
    uint64_t u = 0;
    double d = 0;
    enum err e;

    switch (sf->field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        e = read_signed(r, INT32_MIN, INT32_MAX, &i);
        STORE(int32_t, (int32_t)i, out);
        return e;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        e = read_signed(r, INT64_MIN, INT64_MAX, &i);
        STORE(int64_t, i, out);
        return e;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        e = read_unsigned(r, UINT32_MAX, &u);
        STORE(uint32_t, (uint32_t)u, out);
        return e;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        e = read_unsigned(r, UINT64_MAX, &u);
        STORE(uint64_t, u, out);
        return e;
    case PROTOBUF_C_TYPE_FLOAT:
        e = read_real(r, true, &d);
        STORE(float, (float)d, out);
        return e;
    case PROTOBUF_C_TYPE_DOUBLE:
        e = read_real(r, false, &d);
        STORE(double, d, out);
        return e;
    case PROTOBUF_C_TYPE_BOOL:
        return read_bool(r, out);
    case PROTOBUF_C_TYPE_STRING:
        return read_text(r, out);
    case PROTOBUF_C_TYPE_BYTES:
        return read_bytes(r, out);
    case PROTOBUF_C_TYPE_ENUM:
        return read_enum(r, sf, out, dropped_out);
    case PROTOBUF_C_TYPE_MESSAGE: /* not a scalar */
        break;
    }
    return pj_fail(r, "is of a type that does not exist");
}

/* A number that is a key stands in quotes, whose content has no blanks around it. */
enum err pj_read_key(Reader *r, const struct schema_field *sf, const Text *key, void *out)
{
    bool negative = false;
    uint64_t v = 0;

    if (sf->field->type == PROTOBUF_C_TYPE_STRING)
        return pj_keep_text(r, key, out);
    if (sf->field->type == PROTOBUF_C_TYPE_BOOL) {
        if (!pj_text_is(key, "true") && !pj_text_is(key, "false"))
            return pj_fail(r, "must be \"true\" or \"false\"");
        STORE(protobuf_c_boolean, key->p[0] == 't', out);
        return ERR_OK;
    }
    if (pj_integer_parse(key->p, key->n, &negative, &v) != PJ_INTEGER_OK)
        return pj_fail(r, "must be a whole number");
    bool is_signed =
        sf->field->type == PROTOBUF_C_TYPE_INT32 || sf->field->type == PROTOBUF_C_TYPE_SINT32 ||
        sf->field->type == PROTOBUF_C_TYPE_SFIXED32 || sf->field->type == PROTOBUF_C_TYPE_INT64 ||
        sf->field->type == PROTOBUF_C_TYPE_SINT64 || sf->field->type == PROTOBUF_C_TYPE_SFIXED64;
    bool wide = pb_sizeof(sf->field->type) == 8;
    uint64_t most =
        is_signed ? (wide ? (uint64_t)INT64_MAX : INT32_MAX) : (wide ? UINT64_MAX : UINT32_MAX);
    uint64_t least = is_signed ? most + 1 : 0; /* magnitude of the smallest */
    if (v > (negative ? least : most))
        return pj_fail(r, "is out of range");
    v = negative ? -v : v;
    if (wide)
        STORE(uint64_t, v, out);
    else
        STORE(uint32_t, (uint32_t)v, out);
    return ERR_OK;
}
