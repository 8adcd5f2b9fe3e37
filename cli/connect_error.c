/*
 * connect_error.c - see connect_error.h.
 */
#include "cli/connect_error.h"

#include <jansson.h>
#include <sodium.h>

#include "common/err.h"
#include "common/wire.h"

static enum err code_of_name(const char *name)
{
    for (int e = ERR_CANCELED; e <= ERR_UNAUTHENTICATED; e++)
        if (name && strcmp(err_name((enum err)e), name) == 0)
            return (enum err)e;
    return ERR_UNKNOWN;
}

/* {"type", "value": base64 without padding}; NULL: malformed, or no memory. */
static Google__Protobuf__Any *read_detail(const json_t *json, struct arena *a)
{
    Google__Protobuf__Any *any = wire_new(&google__protobuf__any__descriptor, a);
    const char *type = json_string_value(json_object_get(json, "type"));
    const char *value = json_string_value(json_object_get(json, "value"));
    size_t len = value ? strcspn(value, "=") : 0;
    uint8_t *bytes = arena_alloc(a, len + 1);

    if (!any || !type || !value || !bytes ||
        sodium_base642bin(bytes, len + 1, value, len, NULL, &any->value.len, NULL,
                          sodium_base64_VARIANT_ORIGINAL_NO_PADDING) != 0)
        return NULL;
    any->type_url = arena_printf(a, "type.googleapis.com/%s", type);
    any->value.data = bytes;
    return any->type_url ? any : NULL;
}

/* A Connect error; NULL: it is none, or no memory. Details that cannot be read are left out. */
static PbStatus *read_error(const json_t *json, struct arena *a)
{
    PbStatus *status = wire_new(&google__rpc__status__descriptor, a);
    const char *code = json_string_value(json_object_get(json, "code"));
    const char *message = json_string_value(json_object_get(json, "message"));
    const json_t *details = json_object_get(json, "details"), *detail;
    size_t i;

    if (!status || !code)
        return NULL;
    status->code = (int)code_of_name(code);
    status->message = arena_strdup(a, message ? message : "");
    /* one more for RetryInfo */
    status->details = arena_array(a, json_array_size(details) + 1, sizeof(Google__Protobuf__Any *));
    if (!status->message || !status->details)
        return NULL;
    json_array_foreach(details, i, detail)
    {
        Google__Protobuf__Any *any = read_detail(detail, a);
        if (any)
            status->details[status->n_details++] = any;
    }
    return status;
}

PbStatus *connect_error_read(const char *text, size_t len, const char *member, struct arena *a)
{
    json_t *json = json_loadb(text, len, 0, NULL);
    const json_t *error = member ? json_object_get(json, member) : json;
    PbStatus *status = error ? read_error(error, a) : NULL;

    json_decref(json);
    return status;
}
