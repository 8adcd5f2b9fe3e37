/*
 * http_value.c - see http_value.h.
 */
#include "services/gateway/http/http_value.h"

#include <sodium.h>
#include <strings.h>

#define HASH_BYTES 16

bool http_names_gzip(const char *list)
{
    for (const char *p = list; p && *p;) {
        p += strspn(p, " \t,");
        size_t len = strcspn(p, " \t,;");
        size_t all = strcspn(p, ",");
        bool refused = all > len && memmem(p + len, all - len, "q=0", 3) &&
                       !memmem(p + len, all - len, "q=0.", 4);
        if (len == 4 && strncasecmp(p, "gzip", 4) == 0 && !refused)
            return true;
        p += all;
    }
    return false;
}

void http_etag(const void *data, size_t len, bool gzip, char out[static HTTP_ETAG_MAX])
{
    uint8_t hash[HASH_BYTES];
    char hex[2 * HASH_BYTES + 1];

    crypto_generichash(hash, sizeof(hash), data, len, NULL, 0);
    snprintf(out, HTTP_ETAG_MAX, "\"%s%s\"", sodium_bin2hex(hex, sizeof(hex), hash, sizeof(hash)),
             gzip ? "-gz" : "");
}

bool http_etag_matches(const char *list, const char *etag)
{
    size_t len = strlen(etag);

    for (const char *p = list; p && *p;) {
        p += strspn(p, " \t,");
        if (*p == '*')
            return true;
        if (strncmp(p, "W/", 2) == 0)
            p += 2;
        if (strncmp(p, etag, len) == 0)
            return true;
        p += strcspn(p, ",");
    }
    return false;
}
