/*
 * jwks_source.h - where the issuer's keys come from, a file or an address, and the set at hand.
 *
 * One thread looks (jwks_source_turn); nobody else waits for a file or for HTTP. An address is asked
 * now and then and, when a token names a key that the set lacks, at once, for that reason once
 * a minute at most. A file is read again within a second of its change. What cannot be fetched or
 * read leaves the set as it is. Thread-safe but for jwks_source_turn().
 */
#ifndef DAYBOOK_GATEWAY_JWKS_SOURCE_H
#define DAYBOOK_GATEWAY_JWKS_SOURCE_H

#include "common/err.h"
#include "services/gateway/identity/jwks.h"

struct jwks_source;

/*
 * place: a path, or an address: https, or http to one of the networks. networks: those that may be
 * called besides the public ones, as in http_networks_new(). refresh_us: from one look at an address to
 * the next, and so how long a key that was taken away there may still prove tokens. A file is read at once, so that its
 * keys are there before the first token. NULL: *reason_out (static) says why.
 */
struct jwks_source *jwks_source_new(const char *place, const char *networks, int64_t refresh_us,
                                    const char **reason_out);
void jwks_source_free(struct jwks_source *s);

/* Looks if it is time to, or waits for it, for 250 ms at most. */
void jwks_source_turn(struct jwks_source *s);

/* The set at hand, a share of it; NULL: there never was one. */
const struct jwks *jwks_source_acquire(struct jwks_source *s);
/* A token names a key that the set lacks. True: it is being looked for; ask again in a second. */
bool jwks_source_miss(struct jwks_source *s);

#endif
