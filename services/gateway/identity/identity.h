/*
 * identity.h - who asks over HTTP: an API key or a token of the company's identity provider, in the
 * header Authorization, and where from (operations 8, Identity; 5, limits).
 *
 * "Bearer dbk_<id>_<secret>": the secret's keyed hash is compared in constant time; the key decides
 * tenant, actor and scopes. "Bearer <JWT>": jwt.h proves it; its claims name the company and one of
 * its employees, by id or staff number, and may narrow what he may do here (scopes). Roles are the
 * directory's either way, as it is now. A calendar feed has its secret in the address (protocols E),
 * which nothing else opens. Keys and people are those of the directory's snapshot, so
 * who was ended is refused a second later at the latest.
 *
 * An address that fails too often is refused before anything is hashed. What counts is what nobody
 * could prove: not a genuine token that has expired, none of a key that is not known, and no success. Thread-safe; the loops share one.
 */
#ifndef DAYBOOK_GATEWAY_IDENTITY_H
#define DAYBOOK_GATEWAY_IDENTITY_H

#include "common/arena.h"
#include "common/call.h"
#include "common/http_address.h"
#include "services/gateway/http/http.h"
#include "services/gateway/identity/jwks_source.h"
#include "services/gateway/identity/jwt.h"
#include "services/gateway/identity/key_use.h"
#include "services/gateway/identity/limit.h"

/* All of it is borrowed and outlives the identity. */
struct identity_config {
    const char *trusted_proxies; /* networks; NULL: none */
    struct limit *failures;      /* of an address; NULL: no limit */
    struct limit *requests;      /* of a credential, or of whose token it is; NULL: no limit */
    struct key_use *uses;        /* NULL: nobody wants to know */
    struct jwks_source *keys;    /* NULL: no tokens */
    struct jwt_rules rules;
    struct id tenant; /* whose all tokens are; nil: the claim says it */
};

struct identity;

/* NULL: no memory, or the networks are malformed. */
struct identity *identity_new(const struct identity_config *config);
void identity_free(struct identity *i);
/* Once, before the first. */
void identity_register_metrics(void);

struct asker {
    const char *authorization; /* the header's value; NULL: none */
    struct http_ip from;       /* the client, not a proxy of ours */
};
struct asker identity_asker(const struct identity *i, struct http_exchange *x);

struct proof {
    const PbPrincipal *principal; /* in the arena */
    struct id holder;             /* the credential, or whose token it is: for limits */
    struct id credential;         /* the API key; nil: a token */
    const char *name;             /* of a feed's employee, in the arena; else not set */
    const char *from;             /* the client's address as text, "": not known; in the arena */
};

struct refusal {
    const char *text;
    const char *reason;        /* for programs, static; NULL: the code says it all */
    int64_t wait_us;           /* 0: asking again does not help */
    const struct limit *limit; /* that was reached; NULL: none */
};
/* Headers of the limit that was reached. */
void refusal_tell(const struct refusal *r, struct http_exchange *x);

/* The proxies in front, whose word about their clients is taken. */
const struct http_networks *identity_proxies(const struct identity *i);

/*
 * ERR_UNAUTHENTICATED; ERR_PERMISSION_DENIED: proven, but not from there, or with scopes that are
 * none of ours; ERR_UNAVAILABLE: the directory or the issuer's keys are not there yet, or are being
 * looked for; ERR_RESOURCE_EXHAUSTED: too many failures of that address, or no memory.
 */
NODISCARD enum err identity_prove(struct identity *i, const struct asker *who, struct arena *a,
                                  struct proof *proof_out, struct refusal *refusal_out);
/* The same for a request, which counts: ERR_RESOURCE_EXHAUSTED too when there are too many of them. */
NODISCARD enum err identity_admit(struct identity *i, const struct asker *who, struct arena *a,
                                  struct proof *proof_out, struct refusal *refusal_out);
/* The same of a calendar. token: "<id>_<secret>" of the path. ERR_NOT_FOUND: there is no such feed, or it was ended, has expired,
 * or its employee has left; ERR_UNAVAILABLE, ERR_RESOURCE_EXHAUSTED as above. */
NODISCARD enum err identity_admit_feed(struct identity *i, const struct asker *who,
                                       const char *token, struct arena *a, struct proof *proof_out,
                                       struct refusal *refusal_out);

#endif
