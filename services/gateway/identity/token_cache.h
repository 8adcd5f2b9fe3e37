/*
 * token_cache.h - tokens that were proven a moment ago, so that a signature is checked once and not
 * with every call.
 *
 * A token is known by its BLAKE2b hash, and for as long as the set of keys is the one that has
 * proven it and its own times hold. It has 4,096 places; a token takes that of another one, which is
 * then proven anew. Thread-safe.
 */
#ifndef DAYBOOK_GATEWAY_TOKEN_CACHE_H
#define DAYBOOK_GATEWAY_TOKEN_CACHE_H

#include "services/gateway/identity/jwt.h"

struct token_cache;

struct token_cache *token_cache_new(void); /* NULL: no memory */
void token_cache_free(struct token_cache *c);

/* As jwt_prove(), which it asks where it does not know. The rules never change. */
NODISCARD enum jwt_verdict token_cache_prove(struct token_cache *c, const char *token,
                                             const struct jwks *keys, const struct jwt_rules *rules,
                                             int64_t wall_us, struct arena *a,
                                             struct jwt_claims *claims_out, const char **text_out);

#endif
