/* http_address.c - see http_address.h. The table follows the special-purpose registries of IANA. */
#include "common/http_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "common/num.h"

#define NETWORKS_MAX 64
#define NETWORK_TEXT_MAX 64

struct network {
    int family;
    uint8_t bytes[16];
    unsigned bits;
};

struct http_networks {
    size_t n;
    struct network list[NETWORKS_MAX];
};

static const struct network refused_v4[] = {
    { AF_INET, { 0 }, 8 },            /* this network */
    { AF_INET, { 10 }, 8 },           /* private */
    { AF_INET, { 100, 64 }, 10 },     /* carrier's */
    { AF_INET, { 127 }, 8 },          /* loopback */
    { AF_INET, { 169, 254 }, 16 },    /* link-local, metadata services */
    { AF_INET, { 172, 16 }, 12 },     /* private */
    { AF_INET, { 192, 0, 0 }, 24 },   /* protocol assignments */
    { AF_INET, { 192, 0, 2 }, 24 },   /* documentation */
    { AF_INET, { 192, 88, 99 }, 24 }, /* 6to4 relays */
    { AF_INET, { 192, 168 }, 16 },    /* private */
    { AF_INET, { 198, 18 }, 15 },     /* benchmarks */
    { AF_INET, { 198, 51, 100 }, 24 },
    { AF_INET, { 203, 0, 113 }, 24 },
    { AF_INET, { 224 }, 4 }, /* multicast */
    { AF_INET, { 240 }, 4 }, /* reserved, broadcast */
};

/* Global unicast is 2000::/3; these parts of it are not for us. */
static const struct network global_v6 = { AF_INET6, { 0x20 }, 3 };
static const struct network refused_v6[] = {
    { AF_INET6, { 0x20, 0x01, 0x00 }, 23 },       /* protocol assignments, Teredo */
    { AF_INET6, { 0x20, 0x01, 0x0d, 0xb8 }, 32 }, /* documentation */
    { AF_INET6, { 0x20, 0x02 }, 16 },             /* 6to4 */
    { AF_INET6, { 0x3f, 0xff }, 20 },             /* documentation */
};
static const struct network nat64 = { AF_INET6, { 0x00, 0x64, 0xff, 0x9b }, 96 };

static bool holds(const struct network *n, int family, const uint8_t *bytes)
{
    size_t whole = n->bits / 8;
    unsigned rest = n->bits % 8;
    if (n->family != family || memcmp(n->bytes, bytes, whole) != 0)
        return false;
    return rest == 0 || (n->bytes[whole] ^ bytes[whole]) >> (8 - rest) == 0;
}

static bool in_any(const struct network *list, size_t n, int family, const uint8_t *bytes)
{
    for (size_t i = 0; i < n; i++)
        if (holds(&list[i], family, bytes))
            return true;
    return false;
}

static bool is_public(int family, const uint8_t *bytes)
{
    if (family == AF_INET)
        return !in_any(refused_v4, ARRAY_LEN(refused_v4), family, bytes);
    if (holds(&nat64, family, bytes))
        return is_public(AF_INET, bytes + 12);
    return holds(&global_v6, family, bytes) &&
           !in_any(refused_v6, ARRAY_LEN(refused_v6), family, bytes);
}

static bool is_allowed(const struct http_networks *allowed, int family, const uint8_t *bytes)
{
    return in_any(allowed->list, allowed->n, family, bytes) || is_public(family, bytes);
}

static bool parse_address(const char *text, int *family_out, uint8_t bytes_out[static 16])
{
    memset(bytes_out, 0, 16);
    *family_out = strchr(text, ':') ? AF_INET6 : AF_INET;
    return inet_pton(*family_out, text, bytes_out) == 1;
}

static bool parse_network(char *text, struct network *out)
{
    char *slash = strchr(text, '/');
    if (slash)
        *slash = '\0';
    if (!parse_address(text, &out->family, out->bytes))
        return false;
    int64_t bits = out->family == AF_INET ? 32 : 128;
    if (slash && !num_i64(slash + 1, 0, bits, &bits))
        return false;
    out->bits = (unsigned)bits;
    return true;
}

static bool read_networks(const char *text, struct http_networks *out)
{
    const char *p = text ? text : "";
    out->n = 0;
    while (*p) {
        char one[NETWORK_TEXT_MAX];
        p += strspn(p, " ");
        size_t len = strcspn(p, ", ");
        bool fits = len < sizeof one && out->n < NETWORKS_MAX;
        memcpy(one, p, fits ? len : 0);
        one[fits ? len : 0] = '\0';
        if (!fits || !parse_network(one, &out->list[out->n++]))
            return false;
        p += len;
        p += strspn(p, " ");
        if (*p == ',' && p[1] == '\0')
            return false;
        p += *p == ',';
    }
    return true;
}

struct http_networks *http_networks_new(const char *text)
{
    struct http_networks *n = calloc(1, sizeof *n);
    if (n && read_networks(text, n))
        return n;
    free(n);
    return NULL;
}

bool http_networks_ok(const char *text)
{
    struct http_networks n;
    return read_networks(text, &n);
}

void http_networks_free(struct http_networks *n)
{
    free(n);
}

bool http_network_ok(const char *text)
{
    struct network n;
    char copy[NETWORK_TEXT_MAX];
    size_t len = strlen(text);
    if (len >= sizeof copy)
        return false;
    memcpy(copy, text, len + 1);
    return parse_network(copy, &n);
}

bool http_ip_parse(const char *text, struct http_ip *out)
{
    static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
    struct http_ip ip;
    if (!parse_address(text, &ip.family, ip.bytes))
        return false;
    if (ip.family == AF_INET6 && memcmp(ip.bytes, mapped, sizeof mapped) == 0) {
        ip.family = AF_INET;
        memmove(ip.bytes, ip.bytes + 12, 4);
        memset(ip.bytes + 4, 0, 12);
    }
    *out = ip;
    return true;
}

const char *http_ip_text(const struct http_ip *ip, char out[static INET6_ADDRSTRLEN])
{
    out[0] = '\0';
    if (ip->family)
        (void)inet_ntop(ip->family, ip->bytes, out, INET6_ADDRSTRLEN);
    return out;
}

bool http_networks_hold(const struct http_networks *n, const struct http_ip *ip)
{
    return in_any(n->list, n->n, ip->family, ip->bytes);
}

bool http_networks_text_holds(const char *text, const struct http_ip *ip)
{
    struct http_networks n;
    return read_networks(text, &n) && http_networks_hold(&n, ip);
}

/* Its family and bytes; false: neither IPv4 nor IPv6. */
static bool take_apart(const struct sockaddr *address, int *family_out, uint8_t bytes[static 16])
{
    *family_out = address->sa_family;
    if (address->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof in);
        memcpy(bytes, &in.sin_addr, 4);
        return true;
    }
    if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, address, sizeof in6);
        memcpy(bytes, in6.sin6_addr.s6_addr, 16);
        return true;
    }
    return false;
}

bool http_address_inside(const struct http_networks *networks, const struct sockaddr *address)
{
    uint8_t bytes[16] = { 0 };
    int family;
    return take_apart(address, &family, bytes) &&
           in_any(networks->list, networks->n, family, bytes);
}

bool http_address_allowed(const struct http_networks *allowed, const struct sockaddr *address)
{
    uint8_t bytes[16] = { 0 };
    int family;
    return take_apart(address, &family, bytes) && is_allowed(allowed, family, bytes);
}

bool http_host_allowed(const struct http_networks *allowed, const char *host, bool *is_address_out)
{
    char text[NETWORK_TEXT_MAX];
    uint8_t bytes[16];
    int family;
    size_t len = strlen(host);
    if (len > 2 && host[0] == '[' && host[len - 1] == ']') {
        host++;
        len -= 2;
    }
    len = MIN(len, strcspn(host, "%")); /* a zone */
    *is_address_out = false;
    if (len >= sizeof text)
        return true;
    memcpy(text, host, len);
    text[len] = '\0';
    *is_address_out = parse_address(text, &family, bytes);
    return !*is_address_out || is_allowed(allowed, family, bytes);
}
