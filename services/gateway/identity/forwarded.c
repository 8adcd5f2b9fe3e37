/*
 * forwarded.c - see forwarded.h.
 */
#include "services/gateway/identity/forwarded.h"

#define ADDRESS_MAX 64

static bool parse(const char *text, size_t len, struct http_ip *out)
{
    char copy[ADDRESS_MAX];

    while (len && (*text == ' ' || *text == '\t')) {
        text++;
        len--;
    }
    while (len && (text[len - 1] == ' ' || text[len - 1] == '\t'))
        len--;
    if (len == 0 || len >= sizeof(copy))
        return false;
    memcpy(copy, text, len);
    copy[len] = '\0';
    return http_ip_parse(copy, out);
}

struct http_ip forwarded_client(const struct http_networks *trusted, const char *peer,
                                const char *list)
{
    static const struct http_ip nobody;
    struct http_ip ip = nobody;
    size_t end = list ? strlen(list) : 0;

    if (!parse(peer, strcspn(peer, "%"), &ip)) /* a zone says nothing to others */
        return nobody;
    while (end && http_networks_hold(trusted, &ip)) {
        const char *comma = memrchr(list, ',', end);
        size_t from = comma ? (size_t)(comma - list) + 1 : 0;
        if (!parse(list + from, end - from, &ip))
            return nobody;
        end = comma ? from - 1 : 0;
    }
    return ip;
}
