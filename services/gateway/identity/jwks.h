/*
 * jwks.h - the public keys of whoever issues tokens (RFC 7517, 7518, 8037), read from JSON.
 *
 * A set is immutable, counted and shared between threads. A key has one algorithm, given by its
 * type, so that no token can choose how it is proven: RSA of 2048 bits and more is RS256, P-256 is
 * ES256, Ed25519 is EdDSA. What is something else, for something else or private is left out.
 */
#ifndef DAYBOOK_GATEWAY_JWKS_H
#define DAYBOOK_GATEWAY_JWKS_H

#include <jansson.h>
#include <openssl/evp.h>

#include "common/base.h"

#define JWKS_BYTES_MAX (64 * KIB)
#define JWKS_KEYS_MAX 64
#define JWKS_KID_MAX 255 /* bytes */
#define JSON_DEPTH_MAX 8

enum jwk_alg { JWK_NONE, JWK_RS256, JWK_ES256, JWK_EDDSA };

struct jwk {
    const char *kid;
    enum jwk_alg alg;
    EVP_PKEY *key;
};

struct jwks;

/* One share is the caller's. NULL: *reason_out (static) says why; a set without a key that can be
 * used is one of the reasons. */
struct jwks *jwks_read(const char *json, size_t len, const char **reason_out);
const struct jwks *jwks_share(const struct jwks *set);
void jwks_release(const struct jwks *set); /* NULL is allowed */
void jwks_releasep(const struct jwks **set);
/* Differs between any two sets of this process. */
uint64_t jwks_serial(const struct jwks *set);
size_t jwks_count(const struct jwks *set);

/* By both; NULL: there is none. *kid_known_out: there is a key of that name at least. */
const struct jwk *jwks_find(const struct jwks *set, const char *kid, enum jwk_alg alg,
                            bool *kid_known_out);

/* Whether the signature, in the form of RFC 7518 3.3 and 3.4 and RFC 8037 3.1, is the key's. */
bool jwk_proves(const struct jwk *key, const uint8_t *signature, size_t signature_len,
                const void *data, size_t len);

/* An object of at most JSON_DEPTH_MAX levels, in which no name comes twice; the caller's. NULL: it
 * is none. */
json_t *jwks_json(const char *json, size_t len);
void json_freep(json_t **json); /* for CLEANUP */

#endif
