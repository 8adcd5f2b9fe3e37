/*
 * http_value.h - what the values of header fields say (RFC 9110).
 */
#ifndef DAYBOOK_GATEWAY_HTTP_VALUE_H
#define DAYBOOK_GATEWAY_HTTP_VALUE_H

#include "common/base.h"

#define HTTP_ETAG_MAX 40

/* Whether a list like "br, gzip;q=0.5" names gzip. A browser's q of 0 counts as a no. */
bool http_names_gzip(const char *list);
/* A strong tag of the content, with its quotes; zipped content has another one. */
void http_etag(const void *data, size_t len, bool gzip, char out[static HTTP_ETAG_MAX]);
/* Whether If-None-Match has it (13.1.2); weak comparison. list may be NULL. */
bool http_etag_matches(const char *list, const char *etag);

#endif
