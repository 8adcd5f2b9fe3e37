/*
 * identity.h - who asks over HTTP: an API key in the header Authorization (operations 8, Identity).
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
    struct id key; /* the credential */
};

/*
 * authorization: the header's value, NULL: none. proof_out: its principal is in the arena. ERR_UNAUTHENTICATED with words; ERR_UNAVAILABLE: no directory yet.
 */
NODISCARD enum err identity_prove(const char *authorization, struct arena *a,
                                  struct proof *proof_out, const char **text_out);

#endif
