/*
 * page.c - tokens as bytes: version, time of issue, hash of the list, the key values, and a MAC
 * over all of it (BLAKE2b with the installation's key, 16 bytes), in base64url.
 *
 * The MAC is what keeps others from making up positions; the values are not secret, for the caller
 * has just read the row they come from. The age is real time: a steered clock must not keep a
 * token alive or kill it.
 */
#include "common/page.h"

#include <assert.h>
#include <sodium.h>

#include "common/base.h"
#include "common/clock.h"
#include "common/utf8.h"

#define VERSION 1
#define HASH_BYTES 16
#define MAC_BYTES 16
#define HEAD_BYTES (1 + 8 + HASH_BYTES + 1) /* version, seconds, hash, number of keys */
#define CONTENT_MAX 4096                    /* a token stands in URLs */
#define TOKEN_MAX 8192
#define VALID_US (3 * DAY_US)
#define CLOCK_SKEW_US (5 * MINUTE_US) /* between the daemons of an installation */
#define BASE64 sodium_base64_VARIANT_URLSAFE_NO_PADDING

/* The first makes tokens, the second is accepted, too. */
static struct {
    uint8_t key[32];
    bool known;
} keys_of_ours[2];

struct writer {
    uint8_t data[CONTENT_MAX];
    size_t n;
    bool full;
};

enum err page_size(int32_t wanted, int32_t *size_out)
{
    if (wanted < 0)
        return ERR_INVALID_ARGUMENT;
    *size_out = wanted == 0 ? PAGE_DEFAULT : MIN(wanted, PAGE_MAX);
    return ERR_OK;
}

static void set_key(size_t i, const uint8_t key[static 32])
{
    memcpy(keys_of_ours[i].key, key, sizeof(keys_of_ours[i].key));
    keys_of_ours[i].known = true;
}

void page_set_key(const uint8_t key[static 32])
{
    set_key(0, key);
}

void page_set_other_key(const uint8_t key[static 32])
{
    set_key(1, key);
}

static void hash_filter(const char *filter, uint8_t out[static HASH_BYTES])
{
    crypto_generichash(out, HASH_BYTES, (const uint8_t *)filter, strlen(filter), NULL, 0);
}

static void mac(size_t key, const uint8_t *data, size_t n, uint8_t out[static MAC_BYTES])
{
    crypto_generichash(out, MAC_BYTES, data, n, keys_of_ours[key].key,
                       sizeof(keys_of_ours[key].key));
}

static bool mac_is_right(const uint8_t *data, size_t n, const uint8_t given[static MAC_BYTES])
{
    uint8_t right[MAC_BYTES];
    bool any = false;

    for (size_t i = 0; i < ARRAY_LEN(keys_of_ours); i++) {
        mac(i, data, n, right);
        any |= keys_of_ours[i].known && sodium_memcmp(right, given, MAC_BYTES) == 0;
    }
    return any;
}

static void put(struct writer *w, const void *p, size_t n)
{
    if (n > sizeof(w->data) - MAC_BYTES - w->n) {
        w->full = true;
        return;
    }
    memcpy(w->data + w->n, p, n);
    w->n += n;
}

static void put_number(struct writer *w, uint64_t v, size_t nbytes)
{
    for (size_t i = nbytes; i-- > 0;) {
        uint8_t b = (uint8_t)(v >> (8 * i));
        put(w, &b, 1);
    }
}

enum err page_token_write(const char *filter, const char *const *keys, struct arena *a,
                          char **token_out)
{
    struct writer w = { .n = 0 };
    uint8_t hash[HASH_BYTES];
    size_t nkeys = 0;

    while (nkeys < PAGE_KEYS_MAX && keys[nkeys])
        nkeys++;
    hash_filter(filter, hash);
    put_number(&w, VERSION, 1);
    put_number(&w, (uint64_t)(clock_wall_us() / SECOND_US), 8);
    put(&w, hash, sizeof(hash));
    put_number(&w, nkeys, 1);
    for (size_t i = 0; i < nkeys; i++) {
        size_t len = strlen(keys[i]);
        put_number(&w, len, 2);
        put(&w, keys[i], len); /* one too long for two bytes does not fit anyway */
    }
    if (w.full)
        return ERR_RESOURCE_EXHAUSTED;
    assert(keys_of_ours[0].known); /* page_set_key() was forgotten */
    mac(0, w.data, w.n, w.data + w.n);
    w.n += MAC_BYTES;

    size_t size = sodium_base64_ENCODED_LEN(w.n, BASE64);
    char *token = arena_alloc(a, size);
    if (!token)
        return ERR_RESOURCE_EXHAUSTED;
    sodium_bin2base64(token, size, w.data, w.n, BASE64);
    *token_out = token;
    return ERR_OK;
}

static uint64_t get_number(const uint8_t *p, size_t nbytes)
{
    uint64_t v = 0;
    for (size_t i = 0; i < nbytes; i++)
        v = v << 8 | p[i];
    return v;
}

/* The values behind the head. The MAC was right, so what does not fit was made by another version.
 */
static enum err get_keys(const uint8_t *p, const uint8_t *end, size_t nkeys, struct arena *a,
                         const char *keys_out[static PAGE_KEYS_MAX])
{
    const char *keys[PAGE_KEYS_MAX] = { NULL };
    if (nkeys > PAGE_KEYS_MAX)
        return ERR_INVALID_ARGUMENT;
    for (size_t i = 0; i < nkeys; i++) {
        if (end - p < 2)
            return ERR_INVALID_ARGUMENT;
        size_t len = (size_t)get_number(p, 2);
        p += 2;
        if ((size_t)(end - p) < len || !utf8_is_valid(p, len))
            return ERR_INVALID_ARGUMENT;
        keys[i] = arena_strndup(a, (const char *)p, len);
        if (!keys[i])
            return ERR_RESOURCE_EXHAUSTED;
        p += len;
    }
    if (p != end)
        return ERR_INVALID_ARGUMENT;
    memcpy(keys_out, keys, sizeof(keys));
    return ERR_OK;
}

/* Who may see the difference between a forged token and an old one: nobody. */
static bool is_ours(const uint8_t *data, size_t n, const char *filter)
{
    uint8_t hash[HASH_BYTES];
    if (n < HEAD_BYTES + MAC_BYTES || !mac_is_right(data, n - MAC_BYTES, data + n - MAC_BYTES))
        return false;
    hash_filter(filter, hash);
    int64_t age_us = clock_wall_us() - (int64_t)get_number(data + 1, 8) * SECOND_US;
    return data[0] == VERSION && memcmp(data + 9, hash, HASH_BYTES) == 0 && age_us <= VALID_US &&
           age_us >= -CLOCK_SKEW_US;
}

enum err page_token_read(const char *token, const char *filter, struct arena *a,
                         const char *keys_out[static PAGE_KEYS_MAX])
{
    uint8_t data[CONTENT_MAX];
    size_t n, len = token ? strlen(token) : 0;

    if (len == 0) {
        for (size_t i = 0; i < PAGE_KEYS_MAX; i++)
            keys_out[i] = NULL;
        return ERR_OK;
    }
    if (len > TOKEN_MAX ||
        sodium_base642bin(data, sizeof(data), token, len, NULL, &n, NULL, BASE64) != 0)
        return ERR_INVALID_ARGUMENT;
    if (!is_ours(data, n, filter))
        return ERR_INVALID_ARGUMENT;
    return get_keys(data + HEAD_BYTES, data + n - MAC_BYTES, data[HEAD_BYTES - 1], a, keys_out);
}
