/*
 * http_address.h - addresses and networks: which an outgoing call may go to (F45), and where one
 * comes from. Pure.
 *
 * Refused unless an allowed network holds the address: everything that is not unicast of the public
 * internet, and the forms that hide an IPv4 address in an IPv6 one (mapped, 6to4, Teredo). A
 * NAT64 address is judged by the IPv4 address in it.
 */
#ifndef DAYBOOK_COMMON_HTTP_ADDRESS_H
#define DAYBOOK_COMMON_HTTP_ADDRESS_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "common/base.h"

struct http_networks;

/* CIDR forms and single addresses parted by commas; NULL or "" = none. NULL: malformed or no
 * memory. */
struct http_networks *http_networks_new(const char *text);
/* Well-formed, by the same rules; asks for no memory. */
bool http_networks_ok(const char *text);
void http_networks_free(struct http_networks *n);
/* Whether the text is one network, "10.1.0.0/16" or an address alone. */
bool http_network_ok(const char *text);

/* Where somebody is. An IPv4 address within an IPv6 one (mapped), as a listener for both gives it,
 * is that IPv4 address. */
struct http_ip {
    int family; /* AF_INET, AF_INET6; 0: not known, in no network */
    uint8_t bytes[16];
};
/* An address and nothing else: no port, no brackets, no zone. */
NODISCARD bool http_ip_parse(const char *text, struct http_ip *out);
/* "" when it is not known. Returns out. */
const char *http_ip_text(const struct http_ip *ip, char out[static INET6_ADDRSTRLEN]);
bool http_networks_hold(const struct http_networks *n, const struct http_ip *ip);
/* The same for the text of http_networks_new(); false when it is malformed. */
bool http_networks_text_holds(const char *text, const struct http_ip *ip);

/* --- outgoing --- */

bool http_address_allowed(const struct http_networks *allowed, const struct sockaddr *address);
/* Whether it lies in one of these networks, be it public or not. */
bool http_address_inside(const struct http_networks *networks, const struct sockaddr *address);
/* The same for a text; *is_address_out false: it is not an IP address but a name. */
bool http_host_allowed(const struct http_networks *allowed, const char *host, bool *is_address_out);

#endif
