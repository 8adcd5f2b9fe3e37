/*
 * identity.h - who asks over HTTP: an API key in the header Authorization (operations 8, Identity), or
 * the secret in the address of a calendar feed (protocols E).
 *
 * "Bearer dbk_<id>_<secret>". The secret's keyed hash is compared in constant time; the key decides
 * tenant, actor and scopes, the directory the roles. Keys are those of the directory's snapshot, so
 * one that was ended is refused a second later at the latest. Thread-safe.
 */
#ifndef DAYBOOK_GATEWAY_IDENTITY_H
#define DAYBOOK_GATEWAY_IDENTITY_H

#include "common/arena.h"
#include "common/call.h"

struct proof {
    const PbPrincipal *principal;
    struct id key;    /* the credential */
    const char *name; /* of a feed's employee, in the arena; else NULL */
};

/*
 * authorization: the header's value, NULL: none. proof_out: its principal is in the arena. ERR_UNAUTHENTICATED with words; ERR_UNAVAILABLE: no directory yet.
 */
NODISCARD enum err identity_prove(const char *authorization, struct arena *a,
                                  struct proof *proof_out, const char **text_out);

/* token: "<id>_<secret>" of the path. As above; ERR_NOT_FOUND with words: there is no such feed, or it
 * was ended, has expired, or its employee has left. */
NODISCARD enum err identity_prove_feed(const char *token, struct arena *a, struct proof *proof_out,
                                       const char **text_out);

#endif
