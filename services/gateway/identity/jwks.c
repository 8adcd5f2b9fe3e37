/*
 * jwks.c - see jwks.h.
 */
#include "services/gateway/identity/jwks.h"

#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <sodium.h>
#include <stdatomic.h>

#define RSA_BYTES_MIN 256 /* 2048 bits, RFC 7518 3.3 */
#define RSA_BYTES_MAX 1024
#define EXPONENT_MAX 4 /* bytes: a longer one makes every proof slow */
#define P256_BYTES 32
#define ED25519_BYTES 32
#define ECDSA_DER_MAX 80

struct jwks {
    atomic_int shares;
    uint64_t serial;
    size_t n;
    struct jwk keys[JWKS_KEYS_MAX];
    char kids[JWKS_KEYS_MAX][JWKS_KID_MAX + 1];
};

/* --- JSON --------------------------------------------------------------------------------------- */

void json_freep(json_t **json)
{
    json_decref(*json);
}

/* jansson takes 2 048 levels, each a step of recursion. */
static bool is_shallow(const char *json, size_t len)
{
    int depth = 0;
    bool quoted = false;

    for (size_t i = 0; i < len; i++) {
        char c = json[i];
        if (quoted && c == '\\')
            i++;
        else if (c == '"')
            quoted = !quoted;
        else if (!quoted && (c == '{' || c == '[') && ++depth > JSON_DEPTH_MAX)
            return false;
        else if (!quoted && (c == '}' || c == ']'))
            depth--;
    }
    return true;
}

json_t *jwks_json(const char *json, size_t len)
{
    json_error_t error;

    if (!is_shallow(json, len))
        return NULL;
    json_t *root = json_loadb(json, len, JSON_REJECT_DUPLICATES, &error);
    if (json_is_object(root))
        return root;
    json_decref(root);
    return NULL;
}

/* --- a key -------------------------------------------------------------------------------------- */

static const char *text_of(const json_t *jwk, const char *name)
{
    const char *text = json_string_value(json_object_get(jwk, name));
    return text ? text : "";
}

/* Strict base64url. False: it is not, or has no size between these. */
static bool bytes_of(const json_t *jwk, const char *name, uint8_t *out, size_t min, size_t max,
                     size_t *len_out)
{
    const char *text = text_of(jwk, name);

    return sodium_base642bin(out, max, text, strlen(text), NULL, len_out, NULL,
                             sodium_base64_VARIANT_URLSAFE_NO_PADDING) == 0 &&
           *len_out >= min;
}

static EVP_PKEY *make_key(const char *type, OSSL_PARAM *params)
{
    EVP_PKEY_CTX *ctx = params ? EVP_PKEY_CTX_new_from_name(NULL, type, NULL) : NULL;
    EVP_PKEY *key = NULL;

    if (!ctx || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
        key = NULL;
    EVP_PKEY_CTX_free(ctx);
    return key;
}

static EVP_PKEY *read_rsa(const json_t *jwk)
{
    uint8_t modulus[RSA_BYTES_MAX], exponent[EXPONENT_MAX];
    size_t modulus_len, exponent_len;
    EVP_PKEY *key = NULL;

    if (!bytes_of(jwk, "n", modulus, RSA_BYTES_MIN, sizeof(modulus), &modulus_len) ||
        !bytes_of(jwk, "e", exponent, 1, sizeof(exponent), &exponent_len) || !(modulus[0] & 0x80))
        return NULL; /* a leading zero would make less than 2048 bits of 256 bytes */
    BIGNUM *n = BN_bin2bn(modulus, (int)modulus_len, NULL);
    BIGNUM *e = BN_bin2bn(exponent, (int)exponent_len, NULL);
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    OSSL_PARAM *params = NULL;
    if (n && e && build && BN_is_odd(e) && !BN_is_one(e) &&
        OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
        OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, e) == 1)
        params = OSSL_PARAM_BLD_to_param(build);
    key = make_key("RSA", params);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(build);
    BN_free(e);
    BN_free(n);
    return key;
}

/* A point that does not lie on the curve makes no key. */
static EVP_PKEY *read_p256(const json_t *jwk)
{
    uint8_t point[1 + 2 * P256_BYTES] = { POINT_CONVERSION_UNCOMPRESSED };
    char group[] = "P-256";
    size_t len;

    if (strcmp(text_of(jwk, "crv"), "P-256") != 0 ||
        !bytes_of(jwk, "x", point + 1, P256_BYTES, P256_BYTES, &len) ||
        !bytes_of(jwk, "y", point + 1 + P256_BYTES, P256_BYTES, P256_BYTES, &len))
        return NULL;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point)),
        OSSL_PARAM_construct_end(),
    };
    return make_key("EC", params);
}

static EVP_PKEY *read_ed25519(const json_t *jwk)
{
    uint8_t point[ED25519_BYTES];
    size_t len;

    if (strcmp(text_of(jwk, "crv"), "Ed25519") != 0 ||
        !bytes_of(jwk, "x", point, ED25519_BYTES, ED25519_BYTES, &len))
        return NULL;
    return EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, point, len);
}

static const struct kind {
    const char *kty, *alg, *also; /* also: the name by RFC 9864 */
    enum jwk_alg number;
    EVP_PKEY *(*read)(const json_t *jwk);
} kinds[] = {
    { "RSA", "RS256", "RS256", JWK_RS256, read_rsa },
    { "EC", "ES256", "ES256", JWK_ES256, read_p256 },
    { "OKP", "EdDSA", "Ed25519", JWK_EDDSA, read_ed25519 },
};

/* Whether it is a public key by which signatures of that kind may be proven. */
static bool is_for_us(const json_t *jwk, const struct kind *kind)
{
    const json_t *ops = json_object_get(jwk, "key_ops"), *op;
    bool verifies = ops == NULL;
    size_t i;

    json_array_foreach(ops, i, op) verifies =
        verifies || (json_is_string(op) && strcmp(json_string_value(op), "verify") == 0);
    return verifies && !json_object_get(jwk, "d") &&
           (!json_object_get(jwk, "use") || strcmp(text_of(jwk, "use"), "sig") == 0) &&
           (!json_object_get(jwk, "alg") || strcmp(text_of(jwk, "alg"), kind->alg) == 0 ||
            strcmp(text_of(jwk, "alg"), kind->also) == 0);
}

static void add_key(struct jwks *set, const json_t *jwk)
{
    const char *kid = text_of(jwk, "kid");
    struct jwk *k = &set->keys[set->n];
    bool known;

    if (!*kid || strlen(kid) > JWKS_KID_MAX)
        return;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (strcmp(text_of(jwk, "kty"), kinds[i].kty) != 0 || !is_for_us(jwk, &kinds[i]) ||
            jwks_find(set, kid, kinds[i].number, &known))
            continue;
        *k = (struct jwk){ set->kids[set->n], kinds[i].number, kinds[i].read(jwk) };
        if (!k->key)
            continue;
        memcpy(set->kids[set->n++], kid, strlen(kid) + 1);
        return;
    }
}

/* --- the set ------------------------------------------------------------------------------------ */

struct jwks *jwks_read(const char *json, size_t len, const char **reason_out)
{
    static atomic_ullong serials;
    CLEANUP(json_freep) json_t *root = len <= JWKS_BYTES_MAX ? jwks_json(json, len) : NULL;
    const json_t *list = json_object_get(root, "keys"), *jwk;
    size_t i;

    *reason_out = "it is no JSON object with a list \"keys\" of at most 64 keys and 64 KiB";
    if (!json_is_array(list) || json_array_size(list) > JWKS_KEYS_MAX)
        return NULL;
    struct jwks *set = calloc(1, sizeof(*set));
    *reason_out = "out of memory";
    if (!set)
        return NULL;
    atomic_init(&set->shares, 1);
    set->serial = atomic_fetch_add(&serials, 1) + 1;
    json_array_foreach(list, i, jwk) add_key(set, jwk);
    ERR_clear_error(); /* of keys that are none */
    if (set->n)
        return set;
    *reason_out = "it has no public key for RS256, ES256 or EdDSA with a kid";
    jwks_release(set);
    return NULL;
}

/* The count is all that ever changes in a set. */
static struct jwks *counted(const struct jwks *set)
{
    union {
        const struct jwks *in;
        struct jwks *out;
    } u = { .in = set };
    return u.out;
}

const struct jwks *jwks_share(const struct jwks *set)
{
    if (set)
        atomic_fetch_add(&counted(set)->shares, 1);
    return set;
}

void jwks_release(const struct jwks *set)
{
    if (!set || atomic_fetch_sub(&counted(set)->shares, 1) > 1)
        return;
    for (size_t i = 0; i < set->n; i++)
        EVP_PKEY_free(set->keys[i].key);
    free(counted(set));
}

void jwks_releasep(const struct jwks **set)
{
    jwks_release(*set);
}

uint64_t jwks_serial(const struct jwks *set)
{
    return set->serial;
}

size_t jwks_count(const struct jwks *set)
{
    return set->n;
}

const struct jwk *jwks_find(const struct jwks *set, const char *kid, enum jwk_alg alg,
                            bool *kid_known_out)
{
    *kid_known_out = false;
    for (size_t i = 0; i < set->n; i++) {
        if (strcmp(set->keys[i].kid, kid) != 0)
            continue;
        *kid_known_out = true;
        if (set->keys[i].alg == alg)
            return &set->keys[i];
    }
    return NULL;
}

/* --- the proof ---------------------------------------------------------------------------------- */

/* Two numbers of 32 bytes, as OpenSSL wants them. 0: they are not. */
static size_t to_der(const uint8_t *raw, size_t raw_len, uint8_t der[static ECDSA_DER_MAX])
{
    ECDSA_SIG *sig = raw_len == 2 * P256_BYTES ? ECDSA_SIG_new() : NULL;
    BIGNUM *r = sig ? BN_bin2bn(raw, P256_BYTES, NULL) : NULL;
    BIGNUM *s = sig ? BN_bin2bn(raw + P256_BYTES, P256_BYTES, NULL) : NULL;
    int len = 0;

    if (r && s && ECDSA_SIG_set0(sig, r, s) == 1) { /* which takes them over */
        len = i2d_ECDSA_SIG(sig, NULL) <= ECDSA_DER_MAX ? i2d_ECDSA_SIG(sig, &der) : 0;
    } else {
        BN_free(r);
        BN_free(s);
    }
    ECDSA_SIG_free(sig);
    return len > 0 ? (size_t)len : 0;
}

bool jwk_proves(const struct jwk *key, const uint8_t *signature, size_t signature_len,
                const void *data, size_t len)
{
    uint8_t der[ECDSA_DER_MAX];
    const EVP_MD *digest = key->alg == JWK_EDDSA ? NULL : EVP_sha256();
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    if (key->alg == JWK_ES256) {
        signature_len = to_der(signature, signature_len, der);
        signature = der;
    }
    bool ok = ctx && signature_len > 0 &&
              EVP_DigestVerifyInit(ctx, NULL, digest, NULL, key->key) == 1 &&
              EVP_DigestVerify(ctx, signature, signature_len, data, len) == 1;
    EVP_MD_CTX_free(ctx);
    if (!ok)
        ERR_clear_error();
    return ok;
}
