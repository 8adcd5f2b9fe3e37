/*
 * forwarded.h - where a client is when proxies stand in between (X-Forwarded-For).
 *
 * Each proxy writes at the end of the list whom it has heard; so the list is read from its end, as
 * long as who has written is one of ours. What a client writes there himself stands further left
 * and is never reached. Pure.
 */
#ifndef DAYBOOK_GATEWAY_FORWARDED_H
#define DAYBOOK_GATEWAY_FORWARDED_H

#include "common/http_address.h"

/*
 * peer: whom we hear. list: all fields of that name joined by commas; NULL: none. trusted: our
 * proxies. The result's family is 0 where it is not known: a proxy of ours has written what is no
 * address (no port, no brackets).
 */
struct http_ip forwarded_client(const struct http_networks *trusted, const char *peer,
                                const char *list);

#endif
