/*
 * fuzz_identity.c - who asks: three lines, the header Authorization, the peer, X-Forwarded-For.
 *
 * Only the one key that there is proves anybody, and that from its network; no other text does.
 */
#include <assert.h>
#include <strings.h>

#include "common/directory_build.h"
#include "common/secret.h"
#include "services/gateway/identity/forwarded.h"
#include "services/gateway/identity/identity.h"

#define KEY "dbk_01000000-0000-7000-8000-000000000003_secret"
#define MASTER "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* The exchange is not part of this; identity_asker() is not called. */
const char *http_header(const struct http_exchange *x, const char *name)
{
    (void)x;
    (void)name;
    return NULL;
}

const char *http_peer(const struct http_exchange *x)
{
    (void)x;
    return "";
}

void http_each_header(const struct http_exchange *x,
                      bool (*fn)(void *arg, const char *name, const char *value), void *arg)
{
    (void)x;
    (void)fn;
    (void)arg;
}

void http_add_header(struct http_exchange *x, const char *name, const char *value)
{
    (void)x;
    assert(*name && !strpbrk(value, "\r\n"));
}

static struct id id_of(uint8_t n)
{
    return (struct id){ { 1, [6] = 0x70, [8] = 0x80, [15] = n } };
}

static struct identity *start(void)
{
    struct directory_builder *b = directory_builder_new();
    char hash[65];
    bool ok = secret_init(MASTER) && secret_hash_token("secret", hash);

    assert(b && ok);
    directory_builder_add_tenant(b, id_of(1), "Company", NULL, NULL);
    directory_builder_add_key(b,
                              &(struct dir_key){ .credential = id_of(3),
                                                 .tenant = id_of(1),
                                                 .actor = id_of(2),
                                                 .secret_hash = hash,
                                                 .networks = "192.0.2.0/24" },
                              "customers.read");
    directory_set_for_tests(directory_builder_finish(b));
    return identity_new(&(struct identity_config){ 0 });
}

static char *line(char **rest)
{
    static char none[1];
    char *found = strsep(rest, "\n");
    return found ? found : none;
}

static bool is_the_key(const char *authorization)
{
    const char *token = authorization + MIN(strlen(authorization), 7);

    token += strspn(token, " ");
    /* The id is a UUID, in either case. */
    return strlen(token) == strlen(KEY) && strncmp(token, KEY, 4) == 0 &&
           strncasecmp(token, KEY, 40) == 0 && strcmp(token + 40, KEY + 40) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct arena *a;
    static struct identity *identity;
    static struct http_networks *proxies;
    struct proof proof = { 0 };
    struct refusal refusal = { 0 };

    if (!a) {
        a = arena_new(8 * MIB);
        identity = start();
        proxies = http_networks_new("10.0.0.0/8,fd00::/8");
        assert(a && identity && proxies);
    }
    arena_reset(a);
    char *rest = arena_strndup(a, (const char *)data, len);
    assert(rest);
    const char *authorization = line(&rest), *peer = line(&rest), *list = line(&rest);
    struct http_networks *network = http_networks_new("192.0.2.0/24");
    struct asker who = { .authorization = authorization,
                         .from = forwarded_client(proxies, peer, list) };
    enum err e = identity_prove(identity, &who, a, &proof, &refusal);
    assert(network && (e ? refusal.text != NULL : proof.principal != NULL));
    assert(e || (is_the_key(authorization) && http_networks_hold(network, &who.from)));
    /* Nobody but a proxy of ours says where a client is. */
    struct http_ip heard;
    if (http_ip_parse(peer, &heard) && !http_networks_hold(proxies, &heard))
        assert(heard.family == who.from.family && memcmp(heard.bytes, who.from.bytes, 16) == 0);
    http_networks_free(network);
    return 0;
}
