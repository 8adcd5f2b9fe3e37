/*
 * public_url.h - how we are reached from outside (the setting HTTP_PUBLIC_URL). Pure.
 */
#ifndef DAYBOOK_GATEWAY_PUBLIC_URL_H
#define DAYBOOK_GATEWAY_PUBLIC_URL_H

#include "common/base.h"

#define PUBLIC_URL_MAX 300

struct public_url {
    char url[PUBLIC_URL_MAX];  /* "https://daybook.example.com", without a slash at the end */
    char host[PUBLIC_URL_MAX]; /* "daybook.example.com", without a port */
};

/* "http://" or "https://", a host (name, IPv4, IPv6 in brackets), perhaps a port, perhaps a slash;
 * nothing more. False: it is something else, or too long. */
NODISCARD bool public_url_parse(const char *text, struct public_url *out);

#endif
