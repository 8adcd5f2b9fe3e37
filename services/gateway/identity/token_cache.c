/*
 * token_cache.c - see token_cache.h. A slot's texts stand in one block: tenant, subject, scopes.
 */
#include "services/gateway/identity/token_cache.h"

#include <pthread.h>
#include <sodium.h>

#include "common/sbuf.h"

#define SLOTS 4096 /* a power of two */
#define HASH_BYTES 32
#define TEXTS_MAX (16 * KIB)

struct slot {
    uint8_t hash[HASH_BYTES];
    uint64_t serial; /* of the set; 0: empty */
    int64_t from_us, until_us;
    size_t nscopes;
    bool scoped;
    char *texts; /* one after the other, each with its NUL */
    size_t texts_len;
};

struct token_cache {
    pthread_mutex_t lock;
    struct slot slots[SLOTS];
};

struct token_cache *token_cache_new(void)
{
    struct token_cache *c = calloc(1, sizeof(*c));

    if (c)
        pthread_mutex_init(&c->lock, NULL);
    return c;
}

void token_cache_free(struct token_cache *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < SLOTS; i++)
        free(c->slots[i].texts);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

static struct slot *slot_of(struct token_cache *c, const uint8_t hash[static HASH_BYTES])
{
    return &c->slots[(hash[0] | hash[1] << 8) & (SLOTS - 1)];
}

/* The claims as they were kept, in the arena. False: no memory. */
static bool unfold(const struct slot *s, struct arena *a, struct jwt_claims *out)
{
    const char *p = arena_memdup(a, s->texts, s->texts_len);
    const char **scopes = arena_array(a, s->nscopes + 1, sizeof(*scopes));

    if (!p || !scopes)
        return false;
    *out = (struct jwt_claims){ .scopes = scopes,
                                .nscopes = s->nscopes,
                                .scoped = s->scoped,
                                .from_us = s->from_us,
                                .until_us = s->until_us };
    out->tenant = p;
    p += strlen(p) + 1;
    out->subject = p;
    for (size_t i = 0; i < s->nscopes; i++) {
        p += strlen(p) + 1;
        scopes[i] = p;
    }
    return true;
}

static bool find(struct token_cache *c, const uint8_t hash[static HASH_BYTES], uint64_t serial,
                 int64_t wall_us, struct arena *a, struct jwt_claims *out)
{
    pthread_mutex_lock(&c->lock);
    const struct slot *s = slot_of(c, hash);
    bool found = s->serial == serial && memcmp(s->hash, hash, HASH_BYTES) == 0 &&
                 s->from_us <= wall_us && wall_us < s->until_us && unfold(s, a, out);
    pthread_mutex_unlock(&c->lock);
    return found;
}

/* Nothing is lost where it does not fit. */
static void keep(struct token_cache *c, const uint8_t hash[static HASH_BYTES], uint64_t serial,
                 const struct jwt_claims *claims)
{
    struct sbuf texts;

    sbuf_init(&texts, TEXTS_MAX);
    sbuf_add(&texts, claims->tenant, strlen(claims->tenant) + 1);
    sbuf_add(&texts, claims->subject, strlen(claims->subject) + 1);
    for (size_t i = 0; i < claims->nscopes; i++)
        sbuf_add(&texts, claims->scopes[i], strlen(claims->scopes[i]) + 1);
    size_t len = texts.len;
    char *block = sbuf_take(&texts);
    if (!block) {
        sbuf_fini(&texts);
        return;
    }
    pthread_mutex_lock(&c->lock);
    struct slot *s = slot_of(c, hash);
    free(s->texts);
    *s = (struct slot){ .serial = serial,
                        .from_us = claims->from_us,
                        .until_us = claims->until_us,
                        .nscopes = claims->nscopes,
                        .scoped = claims->scoped,
                        .texts = block,
                        .texts_len = len };
    memcpy(s->hash, hash, HASH_BYTES);
    pthread_mutex_unlock(&c->lock);
}

enum jwt_verdict token_cache_prove(struct token_cache *c, const char *token,
                                   const struct jwks *keys, const struct jwt_rules *rules,
                                   int64_t wall_us, struct arena *a, struct jwt_claims *claims_out,
                                   const char **text_out)
{
    uint8_t hash[HASH_BYTES];
    size_t len = strnlen(token, JWT_BYTES_MAX + 1);

    crypto_generichash(hash, sizeof(hash), (const uint8_t *)token, len, NULL, 0);
    if (len <= JWT_BYTES_MAX && find(c, hash, jwks_serial(keys), wall_us, a, claims_out))
        return JWT_GOOD;
    enum jwt_verdict v = jwt_prove(token, keys, rules, wall_us, a, claims_out, text_out);
    if (v == JWT_GOOD)
        keep(c, hash, jwks_serial(keys), claims_out);
    return v;
}
