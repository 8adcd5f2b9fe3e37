/*
 * customer_rules.c - see customer_rules.h.
 */
#include "services/customers/customer_rules.h"

#include <ctype.h>

#include "common/tz.h"
#include "common/utf8.h"

/* Legal forms, as they stand at the end of a normalised name; longest first. */
static const char *const legal_forms[] = {
    "有限责任公司", "股份有限公司",   "集团有限公司", "有限公司", "股份公司", "分公司",
    "公司",         "companylimited", "coltd",        "limited",  "ltd",      "inc",
    "llc",          "corp",           "co",
};

static size_t sequence_length(unsigned char c)
{
    return c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
}

/* One code point of valid UTF-8. */
static uint32_t decode(const unsigned char *p, size_t n)
{
    uint32_t c = n == 1 ? p[0] : p[0] & (0xFFu >> (n + 1));

    for (size_t i = 1; i < n; i++)
        c = c << 6 | (p[i] & 0x3Fu);
    return c;
}

/* What a code point becomes in a key: 0 = dropped, else the (half-width, lower-case) code point. */
static uint32_t fold(uint32_t c)
{
    if (c >= 0xFF01 && c <= 0xFF5E)
        c -= 0xFEE0;
    if (c < 0x80)
        return isalnum((int)c) ? (uint32_t)tolower((int)c) : 0;
    if (c == 0xA0 || (c >= 0x2000 && c <= 0x206F) || (c >= 0x3000 && c <= 0x303F) || c == 0xB7)
        return 0; /* spaces, general and CJK punctuation */
    return c;
}

static void drop_legal_form(char *key)
{
    size_t len = strlen(key);

    for (size_t i = 0; i < ARRAY_LEN(legal_forms); i++) {
        size_t n = strlen(legal_forms[i]);
        if (len > n && memcmp(key + len - n, legal_forms[i], n) == 0) {
            key[len - n] = '\0';
            return;
        }
    }
}

char *customer_rules_name_key(struct arena *a, const char *name)
{
    char *key = arena_alloc(a, strlen(name) + 1), *out = key;

    if (!key)
        return NULL;
    for (const unsigned char *p = (const unsigned char *)name; *p;) {
        size_t n = sequence_length(*p);
        uint32_t from = decode(p, n), to = fold(from);
        if (to && to < 0x80) {
            *out++ = (char)to;
        } else if (to) {
            memcpy(out, p, n);
            out += n;
        }
        p += n;
    }
    *out = '\0';
    drop_legal_form(key);
    return key;
}

struct faults {
    struct customer_fault *out;
    size_t max, n;
};

static void fault(struct faults *f, const char *field, const char *message)
{
    if (f->n < f->max)
        f->out[f->n] = (struct customer_fault){ field, message };
    f->n++;
}

static bool is_digits(const char *s, size_t n)
{
    return strlen(s) == n && strspn(s, "0123456789") == n;
}

static bool is_credit_code(const char *s)
{
    return strlen(s) == 18 && strspn(s, "0123456789ABCDEFGHJKLMNPQRTUWXY") == 18;
}

static bool is_ref_source(const char *s)
{
    size_t n = strlen(s);

    return n >= 1 && n <= 32 && strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_-") == n;
}

bool customer_rules_ref_ok(const Daybook__Common__V1__ExternalRef *ref)
{
    size_t n = utf8_length(ref->id);

    return is_ref_source(ref->source) && n >= 1 && n <= 128;
}

static bool is_phone(const char *s)
{
    size_t n = strlen(s), digits = 0;

    for (size_t i = 0; i < n; i++)
        digits += isdigit((unsigned char)s[i]) != 0;
    return n <= 32 && strspn(s, "0123456789+- ()") == n && digits >= 5;
}

static bool is_email(const char *s)
{
    const char *at = strchr(s, '@');

    return at && at != s && at[1] && !strchr(at + 1, '@') && strchr(at + 1, '.') &&
           !strpbrk(s, " \t\r\n<>,;\"") && strlen(s) <= 254;
}

static bool is_month_day(const char *s)
{
    char date[DATE_TEXT_MAX];
    struct date d;

    if (strlen(s) != 5)
        return false;
    snprintf(date, sizeof(date), "2024-%s", s); /* a leap year: 02-29 is a birthday */
    return date_parse(date, &d);
}

static bool length_within(const char *s, size_t min, size_t max)
{
    size_t n = utf8_length(s);

    return n >= min && n <= max;
}

static void check_enum(struct faults *f, const char *field, const ProtobufCEnumDescriptor *type,
                       int value)
{
    if (!protobuf_c_enum_descriptor_get_value(type, value))
        fault(f, field, "is not a known value");
}

size_t customer_rules_check(const PbCustomer *c, struct customer_fault *out, size_t max)
{
    struct faults f = { out, max, 0 };

    if (!length_within(c->name, 1, 200))
        fault(&f, "name", "must have 1 to 200 characters");
    if (c->external_ref && !is_ref_source(c->external_ref->source))
        fault(&f, "external_ref.source", "must be 1 to 32 of a-z, 0-9, _ and -");
    if (c->external_ref && !length_within(c->external_ref->id, 1, 128))
        fault(&f, "external_ref.id", "must have 1 to 128 characters");
    if (!length_within(c->industry, 0, 64))
        fault(&f, "industry", "must have at most 64 characters");
    if (!length_within(c->address, 0, 300))
        fault(&f, "address", "must have at most 300 characters");
    if (c->location && (!(c->location->latitude >= -90 && c->location->latitude <= 90) ||
                        !(c->location->longitude >= -180 && c->location->longitude <= 180)))
        fault(&f, "location", "latitude lies in -90 to 90, longitude in -180 to 180");
    if (*c->city_code && !is_digits(c->city_code, 6))
        fault(&f, "city_code", "must be a GB/T 2260 code of 6 digits");
    if (*c->credit_code && !is_credit_code(c->credit_code))
        fault(&f, "credit_code", "must be a unified social credit code of 18 characters");
    if (c->potential_rating < 0 || c->potential_rating > 100)
        fault(&f, "potential_rating", "must lie in 0 to 100");
    check_enum(&f, "relation_type", &daybook__customers__v1__relation_type__descriptor,
               (int)c->relation_type);
    check_enum(&f, "source", &daybook__customers__v1__customer_source__descriptor, (int)c->source);
    check_enum(&f, "company_size", &daybook__customers__v1__company_size__descriptor,
               (int)c->company_size);
    check_enum(&f, "status", &daybook__customers__v1__customer_status__descriptor, (int)c->status);
    return f.n;
}

size_t customer_rules_check_contact(const PbContact *c, struct customer_fault *out, size_t max)
{
    struct faults f = { out, max, 0 };

    if (!length_within(c->name, 1, 100))
        fault(&f, "name", "must have 1 to 100 characters");
    if (!length_within(c->position, 0, 100))
        fault(&f, "position", "must have at most 100 characters");
    if (!length_within(c->decision_role, 0, 64))
        fault(&f, "decision_role", "must have at most 64 characters");
    if (*c->phone && !is_phone(c->phone))
        fault(&f, "phone", "must be digits with spaces, +, - or brackets, at least 5 digits");
    if (*c->email && !is_email(c->email))
        fault(&f, "email", "must be an address such as name@example.com");
    if (*c->birthday && !is_month_day(c->birthday))
        fault(&f, "birthday", "must be MM-DD");
    return f.n;
}

void customer_rules_fill(PbCustomer *c)
{
    if (!c->relation_type)
        c->relation_type = DAYBOOK__CUSTOMERS__V1__RELATION_TYPE__RELATION_TYPE_PROSPECT;
    if (!c->status)
        c->status = DAYBOOK__CUSTOMERS__V1__CUSTOMER_STATUS__CUSTOMER_STATUS_RAW;
}

/* The fields that Update and import may change, by the descriptor's name and kind. */
static const char *const updatable[] = {
    "name",        "relation_type", "key_account",      "owner_id", "source",
    "industry",    "company_size",  "address",          "location", "city_code",
    "credit_code", "status",        "potential_rating",
};

static bool is_set(const ProtobufCFieldDescriptor *f, const void *member)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_STRING:
        return **(char *const *)member != '\0';
    case PROTOBUF_C_TYPE_MESSAGE:
        return *(const void *const *)member != NULL;
    case PROTOBUF_C_TYPE_BOOL:
        return *(const protobuf_c_boolean *)member;
    default: /* enums and int32 are all that is left */
        return *(const int32_t *)member != 0;
    }
}

static size_t member_size(const ProtobufCFieldDescriptor *f)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    default:
        return sizeof(int32_t);
    }
}

static bool same(const ProtobufCFieldDescriptor *f, const void *x, const void *y)
{
    if (f->type == PROTOBUF_C_TYPE_STRING)
        return strcmp(*(char *const *)x, *(char *const *)y) == 0;
    if (f->type == PROTOBUF_C_TYPE_MESSAGE) { /* location is the only one */
        const Daybook__Common__V1__LatLng *a = *(Daybook__Common__V1__LatLng *const *)x;
        const Daybook__Common__V1__LatLng *b = *(Daybook__Common__V1__LatLng *const *)y;
        return a == b || (a && b && a->latitude == b->latitude && a->longitude == b->longitude);
    }
    return memcmp(x, y, member_size(f)) == 0;
}

static bool names(char *const *paths, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(paths[i], name) == 0 || strcmp(paths[i], "*") == 0)
            return true;
    return false;
}

static const char *unknown_path(char *const *paths, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        bool known = strcmp(paths[i], "*") == 0;
        for (size_t k = 0; !known && k < ARRAY_LEN(updatable); k++)
            known = strcmp(paths[i], updatable[k]) == 0;
        if (!known)
            return paths[i];
    }
    return NULL;
}

const char *customer_rules_apply(PbCustomer *into, const PbCustomer *from, char *const *paths,
                                 size_t npaths, const char **changed, size_t max,
                                 size_t *nchanged_out)
{
    const char *unknown = unknown_path(paths, npaths);

    *nchanged_out = 0;
    if (unknown)
        return unknown;
    for (size_t i = 0; i < ARRAY_LEN(updatable); i++) {
        const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field_by_name(
            &daybook__customers__v1__customer__descriptor, updatable[i]);
        char *to = (char *)into + f->offset;
        const char *src = (const char *)from + f->offset;
        bool wanted = npaths ? names(paths, npaths, updatable[i]) : is_set(f, src);
        if (!wanted || same(f, to, src))
            continue;
        memcpy(to, src, member_size(f));
        if (*nchanged_out < max)
            changed[(*nchanged_out)++] = updatable[i];
    }
    return NULL;
}
