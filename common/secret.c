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
#define PREFIX_LEN (3 + 2 * KEY_ID_BYTES + 1) /* "v1:<key id>:" */

_Static_assert(KEY_BYTES == MASTER_BYTES, "derived keys have the size of BLAKE2b's usual key");

struct master {
    unsigned char *key;            /* in guarded memory; NULL: none */
    char id[2 * KEY_ID_BYTES + 1]; /* hex; tells which key sealed something, and nothing about it */
};

/* Set before threads start, constant afterwards. */
static struct master own, other;
static bool other_is_old;

/* BLAKE2b of purpose, NUL and tenant under a master key that is there. */
static void derive(const struct master *m, const char *purpose, struct id tenant,
                   unsigned char out[static KEY_BYTES])
{
    crypto_generichash_state state;
    (void)crypto_generichash_init(&state, m->key, MASTER_BYTES, KEY_BYTES);
    (void)crypto_generichash_update(&state, (const unsigned char *)purpose, strlen(purpose) + 1);
    (void)crypto_generichash_update(&state, tenant.b, sizeof(tenant.b));
    (void)crypto_generichash_final(&state, out, KEY_BYTES);
    sodium_memzero(&state, sizeof(state));
}

static void name_key(struct master *m)
{
    unsigned char id[KEY_BYTES];
    derive(m, "key-id", (struct id){ { 0 } }, id);
    sodium_bin2hex(m->id, sizeof(m->id), id, KEY_ID_BYTES);
}

static bool take_key(struct master *m, const char *hex)
{
    size_t len;
    if (sodium_init() < 0 || !hex || strlen(hex) != 2 * MASTER_BYTES)
        return false;
    unsigned char *key = sodium_malloc(MASTER_BYTES);
    if (!key)
        return false;
    if (sodium_hex2bin(key, MASTER_BYTES, hex, strlen(hex), NULL, &len, NULL) != 0 ||
        len != MASTER_BYTES) {
        sodium_free(key);
        return false;
    }
    (void)sodium_mprotect_readonly(key); /* a hardening only: where it is refused, go on */
    sodium_free(m->key);
    m->key = key;
    name_key(m);
    return true;
}

bool secret_init(const char *master_hex)
{
    return take_key(&own, master_hex);
}

bool secret_init_other(const char *master_hex, bool is_old)
{
    bool ok = take_key(&other, master_hex) && strcmp(other.id, own.id) != 0;
    other_is_old = ok && is_old;
    return ok;
}

/* Of ours; NULL: not sealed, or under a key that we do not have. */
static const struct master *sealed_under(const char *sealed)
{
    const struct master *const masters[] = { &own, &other };

    for (size_t i = 0; i < ARRAY_LEN(masters); i++)
        if (masters[i]->key && strncmp(sealed, "v1:", 3) == 0 &&
            strncmp(sealed + 3, masters[i]->id, 2 * KEY_ID_BYTES) == 0 &&
            sealed[PREFIX_LEN - 1] == ':')
            return masters[i];
    return NULL;
}

bool secret_ready(void)
{
    return own.key != NULL;
}

const char *secret_key_id(void)
{
    return own.id;
}

const char *secret_old_key_id(void)
{
    return other_is_old ? other.id : "";
}

bool secret_is_old(const char *sealed)
{
    return other_is_old && sealed && *sealed && sealed_under(sealed) == &other;
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
    size_t text_len = sodium_base64_encoded_len(box_len, BASE64); /* with the NUL */
    unsigned char *box = arena_alloc(a, box_len);
    char *sealed = arena_alloc(a, PREFIX_LEN + text_len);
    if (!box || !sealed)
        return NULL;

    unsigned char key[KEY_BYTES];
    derive(&own, "seal", tenant, key);
    randombytes_buf(box, NONCE_BYTES);
    int failed = crypto_aead_xchacha20poly1305_ietf_encrypt(
        box + NONCE_BYTES, NULL, (const unsigned char *)clear, len, (const unsigned char *)what,
        strlen(what), NULL, box, key);
    sodium_memzero(key, sizeof(key));
    if (failed)
        return NULL;
    (void)snprintf(sealed, PREFIX_LEN + 1, "v1:%s:", own.id);
    sodium_bin2base64(sealed + PREFIX_LEN, text_len, box, box_len, BASE64);
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
    const struct master *m = sealed_under(sealed);
    if (!m)
        return ERR_DATA_LOSS;

    const char *text = sealed + PREFIX_LEN;
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
    derive(m, "seal", tenant, key);
    int failed = crypto_aead_xchacha20poly1305_ietf_decrypt(
        (unsigned char *)clear, NULL, NULL, box + NONCE_BYTES, box_len - NONCE_BYTES,
        (const unsigned char *)what, strlen(what), box, key);
    sodium_memzero(key, sizeof(key));
    if (failed || memchr(clear, '\0', len))
        return ERR_DATA_LOSS;
    *clear_out = clear;
    return ERR_OK;
}

static void index_under(const struct master *m, struct id tenant, const char *kind,
                        const char *normalised, char out[static BLIND_INDEX_TEXT])
{
    unsigned char key[KEY_BYTES], hash[(BLIND_INDEX_TEXT - 1) / 2];
    crypto_generichash_state state;
    derive(m, "blind-index", tenant, key);
    (void)crypto_generichash_init(&state, key, sizeof(key), sizeof(hash));
    /* with its NUL, so that kind and value cannot run into each other */
    (void)crypto_generichash_update(&state, (const unsigned char *)kind, strlen(kind) + 1);
    (void)crypto_generichash_update(&state, (const unsigned char *)normalised, strlen(normalised));
    (void)crypto_generichash_final(&state, hash, sizeof(hash));
    sodium_bin2hex(out, BLIND_INDEX_TEXT, hash, sizeof(hash));
    sodium_memzero(key, sizeof(key));
    sodium_memzero(&state, sizeof(state));
}

bool secret_blind_index(struct id tenant, const char *kind, const char *normalised,
                        char out[static BLIND_INDEX_TEXT])
{
    if (!must_be_ready())
        return false;
    index_under(&own, tenant, kind, normalised, out);
    return true;
}

bool secret_other_blind_index(struct id tenant, const char *kind, const char *normalised,
                              char out[static BLIND_INDEX_TEXT])
{
    if (!other.key)
        return false;
    index_under(&other, tenant, kind, normalised, out);
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

static void hash_under(const struct master *m, const char *token,
                       char out_hex[static TOKEN_HASH_TEXT])
{
    unsigned char key[KEY_BYTES], hash[32];
    derive(m, "token", (struct id){ { 0 } }, key);
    (void)crypto_generichash(hash, sizeof(hash), (const unsigned char *)token, strlen(token), key,
                             sizeof(key));
    sodium_bin2hex(out_hex, TOKEN_HASH_TEXT, hash, sizeof(hash));
    sodium_memzero(key, sizeof(key));
}

bool secret_hash_token(const char *token, char out_hex[static TOKEN_HASH_TEXT])
{
    if (!must_be_ready())
        return false;
    hash_under(&own, token, out_hex);
    return true;
}

bool secret_other_hash_token(const char *token, char out_hex[static TOKEN_HASH_TEXT])
{
    if (!other.key)
        return false;
    hash_under(&other, token, out_hex);
    return true;
}

void secret_derive(const char *purpose, uint8_t out[static 32])
{
    if (secret_ready())
        derive(&own, purpose, (struct id){ { 0 } }, out);
    else
        randombytes_buf(out, 32);
}

bool secret_derive_other(const char *purpose, uint8_t out[static 32])
{
    if (other.key)
        derive(&other, purpose, (struct id){ { 0 } }, out);
    return other.key != NULL;
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
