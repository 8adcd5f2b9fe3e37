/*
 * secret.c - keys, sealed fields, blind indexes, masks.
 *
 * Every key is BLAKE2b of its purpose and the tenant under the master key. Deriving takes about a
 * microsecond, less than a cache of keys would cost in locks and in places that must be wiped.
 */
#include "common/secret.h"

#include <sodium.h>

#include "common/log.h"

#define MASTER_BYTES 32
#define KEY_BYTES crypto_aead_xchacha20poly1305_ietf_KEYBYTES
#define NONCE_BYTES crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG_BYTES crypto_aead_xchacha20poly1305_ietf_ABYTES
#define KEY_ID_BYTES 4
#define BASE64 sodium_base64_VARIANT_URLSAFE_NO_PADDING
#define CLEAR_MOST (1 * MIB)

_Static_assert(KEY_BYTES == MASTER_BYTES, "derived keys have the size of BLAKE2b's usual key");

/* Set by secret_init() before threads start, constant afterwards. */
static unsigned char *master;                        /* in guarded memory */
static char sealed_prefix[3 + 2 * KEY_ID_BYTES + 2]; /* "v1:<key id>:" */

/* BLAKE2b of purpose, NUL and tenant under the master key, which is there. */
static void derive(const char *purpose, struct id tenant, unsigned char out[static KEY_BYTES])
{
    crypto_generichash_state state;
    (void)crypto_generichash_init(&state, master, MASTER_BYTES, KEY_BYTES);
    (void)crypto_generichash_update(&state, (const unsigned char *)purpose, strlen(purpose) + 1);
    (void)crypto_generichash_update(&state, tenant.b, sizeof(tenant.b));
    (void)crypto_generichash_final(&state, out, KEY_BYTES);
    sodium_memzero(&state, sizeof(state));
}

static void name_key(void)
{
    unsigned char id[KEY_BYTES];
    char hex[2 * KEY_ID_BYTES + 1];
    derive("key-id", (struct id){ { 0 } }, id);
    sodium_bin2hex(hex, sizeof(hex), id, KEY_ID_BYTES);
    (void)snprintf(sealed_prefix, sizeof(sealed_prefix), "v1:%s:", hex);
}

bool secret_init(const char *master_hex)
{
    size_t len;
    if (sodium_init() < 0 || !master_hex || strlen(master_hex) != 2 * MASTER_BYTES)
        return false;
    unsigned char *key = sodium_malloc(MASTER_BYTES);
    if (!key)
        return false;
    if (sodium_hex2bin(key, MASTER_BYTES, master_hex, strlen(master_hex), NULL, &len, NULL) != 0 ||
        len != MASTER_BYTES) {
        sodium_free(key);
        return false;
    }
    (void)sodium_mprotect_readonly(key); /* a hardening only: where it is refused, go on */
    sodium_free(master);
    master = key;
    name_key();
    return true;
}

bool secret_ready(void)
{
    return master != NULL;
}

/* Daemons that need it do not start without (daemon_def.needs_master_key). */
static bool must_be_ready(void)
{
    if (!secret_ready())
        log_error("secret.no_master_key",
                  "DAYBOOK_MASTER_KEY is not set: nothing can be sealed, "
                  "opened or looked for",
                  NULL);
    return secret_ready();
}

/* --- sealed fields
 * --------------------------------------------------------------------------------- */

char *secret_seal(struct arena *a, struct id tenant, const char *what, const char *clear)
{
    if (!clear || !*clear)
        return arena_strdup(a, clear);
    size_t len = strlen(clear);
    if (len > CLEAR_MOST || !must_be_ready())
        return NULL;
    size_t box_len = NONCE_BYTES + len + TAG_BYTES;
    size_t prefix_len = strlen(sealed_prefix);
    size_t text_len = sodium_base64_encoded_len(box_len, BASE64); /* with the NUL */
    unsigned char *box = arena_alloc(a, box_len);
    char *sealed = arena_alloc(a, prefix_len + text_len);
    if (!box || !sealed)
        return NULL;

    unsigned char key[KEY_BYTES];
    derive("seal", tenant, key);
    randombytes_buf(box, NONCE_BYTES);
    int failed = crypto_aead_xchacha20poly1305_ietf_encrypt(
        box + NONCE_BYTES, NULL, (const unsigned char *)clear, len, (const unsigned char *)what,
        strlen(what), NULL, box, key);
    sodium_memzero(key, sizeof(key));
    if (failed)
        return NULL;
    memcpy(sealed, sealed_prefix, prefix_len);
    sodium_bin2base64(sealed + prefix_len, text_len, box, box_len, BASE64);
    return sealed;
}

enum err secret_open(struct arena *a, struct id tenant, const char *what, const char *sealed,
                     char **clear_out)
{
    if (!sealed || !*sealed) {
        char *same = arena_strdup(a, sealed);
        if (sealed && !same)
            return ERR_RESOURCE_EXHAUSTED;
        *clear_out = same;
        return ERR_OK;
    }
    if (!must_be_ready())
        return ERR_INTERNAL;
    size_t prefix_len = strlen(sealed_prefix);
    if (strncmp(sealed, sealed_prefix, prefix_len) != 0)
        return ERR_DATA_LOSS; /* not sealed, or under a key that we do not have */

    const char *text = sealed + prefix_len;
    size_t most = strlen(text); /* base64 is longer than what it says */
    unsigned char *box = arena_alloc(a, most + 1);
    if (!box)
        return ERR_RESOURCE_EXHAUSTED;
    size_t box_len;
    if (sodium_base642bin(box, most, text, most, NULL, &box_len, NULL, BASE64) != 0 ||
        box_len < NONCE_BYTES + TAG_BYTES)
        return ERR_DATA_LOSS;
    size_t len = box_len - NONCE_BYTES - TAG_BYTES;
    char *clear = arena_alloc(a, len + 1);
    if (!clear)
        return ERR_RESOURCE_EXHAUSTED;

    unsigned char key[KEY_BYTES];
    derive("seal", tenant, key);
    int failed = crypto_aead_xchacha20poly1305_ietf_decrypt(
        (unsigned char *)clear, NULL, NULL, box + NONCE_BYTES, box_len - NONCE_BYTES,
        (const unsigned char *)what, strlen(what), box, key);
    sodium_memzero(key, sizeof(key));
    if (failed || memchr(clear, '\0', len))
        return ERR_DATA_LOSS;
    *clear_out = clear;
    return ERR_OK;
}

bool secret_blind_index(struct id tenant, const char *kind, const char *normalised,
                        char out[static BLIND_INDEX_TEXT])
{
    if (!must_be_ready())
        return false;
    unsigned char key[KEY_BYTES], hash[(BLIND_INDEX_TEXT - 1) / 2];
    crypto_generichash_state state;
    derive("blind-index", tenant, key);
    (void)crypto_generichash_init(&state, key, sizeof(key), sizeof(hash));
    /* with its NUL, so that kind and value cannot run into each other */
    (void)crypto_generichash_update(&state, (const unsigned char *)kind, strlen(kind) + 1);
    (void)crypto_generichash_update(&state, (const unsigned char *)normalised, strlen(normalised));
    (void)crypto_generichash_final(&state, hash, sizeof(hash));
    sodium_bin2hex(out, BLIND_INDEX_TEXT, hash, sizeof(hash));
    sodium_memzero(key, sizeof(key));
    sodium_memzero(&state, sizeof(state));
    return true;
}

/* --- masks
 * ----------------------------------------------------------------------------------------- */

char *secret_normalise_phone(struct arena *a, const char *phone)
{
    if (!phone)
        return NULL;
    char *digits = arena_alloc(a, strlen(phone) + 1);
    if (!digits)
        return NULL;
    bool international = false;
    size_t n = 0;
    for (const char *p = phone; *p; p++) {
        const unsigned char *u = (const unsigned char *)p;
        if (*p >= '0' && *p <= '9') {
            digits[n++] = *p;
        } else if (n == 0 && *p == '+') {
            international = true;
        } else if (u[0] == 0xef && u[1] == 0xbc && u[2] >= 0x90 && u[2] <= 0x99) {
            digits[n++] = (char)('0' + (u[2] - 0x90)); /* full width, from a Chinese keyboard */
            p += 2;
        } else if (n == 0 && u[0] == 0xef && u[1] == 0xbc && u[2] == 0x8b) {
            international = true; /* a full-width + */
            p += 2;
        }
    }
    digits[n] = '\0';
    char *start = digits;
    if (!international && strncmp(start, "00", 2) == 0) {
        international = true;
        start += 2;
    }
    /* Without + or 00 only a mobile number of 86 and 11 digits is certain to be meant. */
    bool bare_mobile = !international && strlen(start) == 13 && strncmp(start, "861", 3) == 0;
    if (strncmp(start, "86", 2) == 0 && (international || bare_mobile))
        start += 2;
    return start;
}

char *secret_mask_phone(struct arena *a, const char *phone)
{
    char *digits = secret_normalise_phone(a, phone);
    if (!digits)
        return NULL;
    size_t n = strlen(digits);
    if (n < 8) /* too short to show both ends */
        return arena_strdup(a, "****");
    int head = n >= 11 ? 3 : 2;
    int tail = n >= 11 ? 4 : 2;
    return arena_printf(a, "%.*s****%s", head, digits, digits + n - (size_t)tail);
}

char *secret_mask_email(struct arena *a, const char *email)
{
    if (!email)
        return NULL;
    const char *at = strrchr(email, '@');
    if (!at)
        return arena_strdup(a, "***");
    size_t n = 0; /* bytes of the first character */
    if (email < at)
        for (n = 1; email + n < at && ((unsigned char)email[n] & 0xc0) == 0x80;)
            n++;
    return arena_printf(a, "%.*s***%s", (int)n, email, at);
}

/* --- tokens
 * ---------------------------------------------------------------------------------------- */

bool secret_hash_token(const char *token, char out_hex[static 65])
{
    if (!must_be_ready())
        return false;
    unsigned char key[KEY_BYTES], hash[32];
    derive("token", (struct id){ { 0 } }, key);
    (void)crypto_generichash(hash, sizeof(hash), (const unsigned char *)token, strlen(token), key,
                             sizeof(key));
    sodium_bin2hex(out_hex, 65, hash, sizeof(hash));
    sodium_memzero(key, sizeof(key));
    return true;
}

void secret_derive(const char *purpose, uint8_t out[static 32])
{
    if (secret_ready())
        derive(purpose, (struct id){ { 0 } }, out);
    else
        randombytes_buf(out, 32);
}

char *secret_random_text(struct arena *a, size_t nbytes)
{
    unsigned char *bytes = arena_alloc(a, nbytes);
    size_t size = sodium_base64_encoded_len(nbytes, BASE64);
    char *text = arena_alloc(a, size);
    if (!bytes || !text)
        return NULL;
    randombytes_buf(bytes, nbytes);
    sodium_bin2base64(text, size, bytes, nbytes, BASE64);
    sodium_memzero(bytes, nbytes);
    return text;
}
