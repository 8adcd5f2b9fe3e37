/*
 * http_address.h - which addresses an outgoing call may go to (F45). Pure.
 *
 * Refused unless an allowed network holds the address: everything that is not unicast of the public
 * internet, and the forms that hide an IPv4 address in an IPv6 one (mapped, 6to4, Teredo). A
 * NAT64 address is judged by the IPv4 address in it.
 */
#ifndef DAYBOOK_COMMON_HTTP_ADDRESS_H
#define DAYBOOK_COMMON_HTTP_ADDRESS_H

#include <sys/socket.h>

#include "common/base.h"

struct http_networks;

/* CIDR forms and single addresses parted by commas; NULL or "" = none. NULL: malformed or no
 * memory. */
struct http_networks *http_networks_new(const char *text);
void http_networks_free(struct http_networks *n);

bool http_address_allowed(const struct http_networks *allowed, const struct sockaddr *address);
/* The same for a text; *is_address_out false: it is not an IP address but a name. */
bool http_host_allowed(const struct http_networks *allowed, const char *host, bool *is_address_out);

#endif
