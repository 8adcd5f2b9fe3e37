/*
 * webhook_signature.c - see webhook_signature.h. HMAC-SHA256 by libsodium, whose functions used here
 * need no start.
 */
#include "common/webhook_signature.h"

#include <sodium.h>

#include "common/num.h"

#define SECRET_PREFIX "whsec_"
#define SECRET_MIN 24
#define SECRET_MAX 64
#define VERSION_PREFIX "v1,"
#define MAC_TEXT                                                                                   \
    sodium_base64_ENCODED_LEN(crypto_auth_hmacsha256_BYTES, sodium_base64_VARIANT_ORIGINAL)

static bool decode_secret(const char *secret, uint8_t key[static SECRET_MAX], size_t *len_out)
{
    size_t prefix = strlen(SECRET_PREFIX);
    return strncmp(secret, SECRET_PREFIX, prefix) == 0 &&
           sodium_base642bin(key, SECRET_MAX, secret + prefix, strlen(secret + prefix), NULL,
                             len_out, NULL, sodium_base64_VARIANT_ORIGINAL) == 0 &&
           *len_out >= SECRET_MIN;
}

bool webhook_secret_is_valid(const char *secret)
{
    uint8_t key[SECRET_MAX];
    size_t len;
    bool ok = decode_secret(secret, key, &len);
    sodium_memzero(key, sizeof key);
    return ok;
}

char *webhook_new_secret(struct arena *a)
{
    uint8_t key[32];
    char text[sodium_base64_ENCODED_LEN(sizeof key, sodium_base64_VARIANT_ORIGINAL)];

    randombytes_buf(key, sizeof key);
    sodium_bin2base64(text, sizeof text, key, sizeof key, sodium_base64_VARIANT_ORIGINAL);
    char *secret = arena_printf(a, "%s%s", SECRET_PREFIX, text);
    sodium_memzero(key, sizeof key);
    sodium_memzero(text, sizeof text);
    return secret;
}

static bool is_id(const char *id)
{
    return id && *id && !strchr(id, '.');
}

/* False: malformed secret. timestamp: as it stands in the header. */
static bool make_mac(const char *secret, const char *id, const char *timestamp, const void *body,
                     size_t len, char text[static MAC_TEXT])
{
    uint8_t key[SECRET_MAX], mac[crypto_auth_hmacsha256_BYTES];
    crypto_auth_hmacsha256_state state;
    size_t key_len = 0;

    bool ok = decode_secret(secret, key, &key_len);
    if (ok) {
        crypto_auth_hmacsha256_init(&state, key, key_len);
        crypto_auth_hmacsha256_update(&state, (const uint8_t *)id, strlen(id));
        crypto_auth_hmacsha256_update(&state, (const uint8_t *)".", 1);
        crypto_auth_hmacsha256_update(&state, (const uint8_t *)timestamp, strlen(timestamp));
        crypto_auth_hmacsha256_update(&state, (const uint8_t *)".", 1);
        crypto_auth_hmacsha256_update(&state, body, len);
        crypto_auth_hmacsha256_final(&state, mac);
        sodium_memzero(&state, sizeof state);
        sodium_bin2base64(text, MAC_TEXT, mac, sizeof mac, sodium_base64_VARIANT_ORIGINAL);
    }
    sodium_memzero(key, sizeof key);
    return ok;
}

enum err webhook_sign(const char *secret, const char *id, int64_t timestamp_s, const void *body,
                      size_t len, struct arena *a, char **out)
{
    char timestamp[24], text[MAC_TEXT];

    snprintf(timestamp, sizeof timestamp, "%" PRId64, timestamp_s);
    if (!is_id(id) || !make_mac(secret, id, timestamp, body, len, text))
        return ERR_INVALID_ARGUMENT;
    *out = arena_printf(a, VERSION_PREFIX "%s", text);
    return *out ? ERR_OK : ERR_RESOURCE_EXHAUSTED;
}

/* --- judging ---------------------------------------------------------------------------------- */

static const char *missing(const struct webhook_message *m)
{
    return !m->id || !*m->id                 ? "webhook-id is missing"
           : !is_id(m->id)                   ? "webhook-id has a full stop in it"
           : !m->timestamp || !*m->timestamp ? "webhook-timestamp is missing"
           : !m->signature || !*m->signature ? "webhook-signature is missing"
                                             : NULL;
}

/* One entry of the list. In constant time for what is of the right form. */
static bool is_by(const char *entry, size_t len, const char text[static MAC_TEXT])
{
    size_t prefix = strlen(VERSION_PREFIX);
    return len == prefix + MAC_TEXT - 1 && strncmp(entry, VERSION_PREFIX, prefix) == 0 &&
           sodium_memcmp(entry + prefix, text, MAC_TEXT - 1) == 0;
}

static bool is_signed_by(const char *secret, const struct webhook_message *m)
{
    char text[MAC_TEXT];
    bool found = false;

    if (!make_mac(secret, m->id, m->timestamp, m->body, m->len, text))
        return false;
    for (const char *p = m->signature; *p;) {
        size_t len = strcspn(p, " ");
        found |= is_by(p, len, text);
        p += len;
        p += strspn(p, " ");
    }
    sodium_memzero(text, sizeof text);
    return found;
}

enum webhook_verdict webhook_verify(const char *const *secrets, size_t nsecrets,
                                    const struct webhook_message *m, int64_t now_s,
                                    const char **reason_out)
{
    int64_t at_s;
    bool found = false;

    *reason_out = missing(m);
    if (*reason_out)
        return WEBHOOK_INCOMPLETE;
    if (!num_i64(m->timestamp, 0, INT64_MAX, &at_s)) {
        *reason_out = "webhook-timestamp is not Unix seconds";
        return WEBHOOK_INCOMPLETE;
    }
    for (size_t i = 0; i < nsecrets; i++)
        found |= is_signed_by(secrets[i], m);
    if (!found) {
        *reason_out = "no signature is by this secret";
        return WEBHOOK_FORGED;
    }
    /* now_s is not negative, so nothing overflows */
    if (at_s < now_s - WEBHOOK_TOLERANCE_S || at_s - WEBHOOK_TOLERANCE_S > now_s) {
        *reason_out = "webhook-timestamp is more than 5 minutes off";
        return WEBHOOK_STALE;
    }
    return WEBHOOK_GENUINE;
}
