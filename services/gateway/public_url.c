/*
 * public_url.c - see public_url.h.
 */
#include "services/gateway/public_url.h"

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define PORT_DIGITS 5

/* NULL: it begins otherwise. */
static const char *after_scheme(const char *text)
{
    return strncmp(text, "https://", 8) == 0  ? text + 8
           : strncmp(text, "http://", 7) == 0 ? text + 7
                                              : NULL;
}

/* 0: there is none. */
static size_t host_length(const char *text)
{
    if (*text != '[')
        return strspn(text, LETTERS "0123456789.-");
    size_t len = strspn(text + 1, "0123456789abcdefABCDEF:.");
    return len > 0 && text[1 + len] == ']' ? len + 2 : 0;
}

/* With its colon; 0 also where what stands there is no port. */
static size_t port_length(const char *text)
{
    size_t digits = *text == ':' ? strspn(text + 1, "0123456789") : 0;
    return digits > 0 && digits <= PORT_DIGITS ? digits + 1 : 0;
}

bool public_url_parse(const char *text, struct public_url *out)
{
    const char *host = after_scheme(text);
    size_t len = host ? host_length(host) : 0;

    if (len == 0 || strlen(text) >= PUBLIC_URL_MAX)
        return false;
    const char *end = host + len + port_length(host + len);
    if (strcmp(end, "") != 0 && strcmp(end, "/") != 0)
        return false;
    snprintf(out->host, sizeof(out->host), "%.*s", (int)len, host);
    snprintf(out->url, sizeof(out->url), "%.*s", (int)(end - text), text);
    return true;
}
