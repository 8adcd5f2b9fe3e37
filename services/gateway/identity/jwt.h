/*
 * jwt.h - whether a token is what it says (RFC 7515, 7519, with the advice of 8725): signed by a
 * known key, of our issuer, for us, and now.
 *
 * RS256, ES256 and EdDSA (Ed25519, which RFC 9864 calls so) only. The key is chosen by `kid`, which must be there, and has
 * one algorithm (jwks.h): `none`, HS256 with a public key as the secret and every other mixture
 * find no key. Nothing of the claims is read before the signature is proven. Pure; thread-safe.
 */
#ifndef DAYBOOK_GATEWAY_JWT_H
#define DAYBOOK_GATEWAY_JWT_H

#include "common/arena.h"
#include "services/gateway/identity/jwks.h"

#define JWT_BYTES_MAX (8 * KIB)
#define JWT_CLAIM_MAX 255 /* bytes of tenant or subject */
#define JWT_SCOPES_MAX 64
#define JWT_LEEWAY_US (60 * SECOND_US)

struct jwt_rules {
    const char *issuer, *audience;
    const char *tenant_claim, *subject_claim, *scope_claim; /* names; scope_claim "": none */
};

struct jwt_claims {
    const char *tenant; /* "": not said */
    const char *subject;
    const char *const *scopes; /* texts as they stand there */
    size_t nscopes;
    bool scoped;               /* the claim is there, be it empty */
    int64_t from_us, until_us; /* wall clock, leeway counted in: from_us <= now < until_us */
};

enum jwt_verdict {
    JWT_GOOD,
    JWT_FORGED,      /* no token, or its signature is not proven */
    JWT_UNKNOWN_KEY, /* no key of that name: another set may have it */
    JWT_REFUSED,     /* genuine, but not for us or not now */
};

/*
 * token: NUL-terminated. claims_out: in the arena; set by JWT_GOOD only. text_out: why not, in words
 * for the caller (static).
 */
NODISCARD enum jwt_verdict jwt_prove(const char *token, const struct jwks *keys,
                                     const struct jwt_rules *rules, int64_t wall_us,
                                     struct arena *a, struct jwt_claims *claims_out,
                                     const char **text_out);

/* The second half of that, for tests: the claims of a token whose signature was proven. */
NODISCARD enum jwt_verdict jwt_read_claims(const char *json, size_t len,
                                           const struct jwt_rules *rules, int64_t wall_us,
                                           struct arena *a, struct jwt_claims *claims_out,
                                           const char **text_out);

#endif
