/*
 * identity.h - who a peer is, and what he may do (protocols G.5, operations 8).
 *
 * A peer is known by the User-Id that our ZAP handler put on his connection: his CURVE public key
 * in Z85. Keys come from two places: files of the operator (the keyring: our own daemons, edges and
 * tools) and the directory's credentials (partners and people). Peers on inproc have no User-Id:
 * they are this process. Peers of the plain endpoint have the User-Id "plain" and act as one fixed
 * actor.
 *
 * What is known of a key is kept per thread in an identity_cache, for as long as nothing has
 * changed; so a key that was revoked or has expired is refused with its next message, also on a
 * connection that stands.
 */
#ifndef DAYBOOK_BUS_IDENTITY_H
#define DAYBOOK_BUS_IDENTITY_H

#include "common/base.h"
#include "common/id.h"
#include "services/bus/hmap.h"

#define IDENTITY_KEY_LEN 40 /* Z85 of 32 bytes */
#define IDENTITY_USER_PLAIN "plain"
#define ZAP_DOMAIN_CURVE "daybook"
#define ZAP_DOMAIN_PLAIN "daybook-plain"

enum identity_kind {
    IDENTITY_NONE,   /* not admitted */
    IDENTITY_SELF,   /* this process, over inproc */
    IDENTITY_DAEMON, /* may do everything, also serve */
    IDENTITY_SYSTEM, /* operator's tool: speaks for anybody, serves nothing */
    IDENTITY_EDGE,   /* gateway: brings the principals that it has proven */
    IDENTITY_ACTOR,  /* partner or person: the key is the principal */
    IDENTITY_PLAIN,  /* loopback without proof */
};

/* What plain peers are; without tenant and actor and with `serves` they count as daemons. */
struct identity_plain {
    bool offered;
    bool serves; /* may register workers, wake, speak for others, hear everything */
    struct id tenant, actor;
    const char *scopes; /* comma-separated, NULL = none */
};

/* --- the operator's keys, shared by all threads --------------------------------------------- */

struct keyring;

/*
 * directory: holds files "<name>.pub": the first line is the key in Z85, further lines are
 * "kind=daemon|edge|system" (default daemon) and comments after '#'. NULL: no keys from files.
 * NULL return: out of memory. Unreadable or malformed files are skipped with a log line; one
 * that was good before keeps its key until it is good again or gone.
 */
struct keyring *keyring_new(const char *directory, const struct identity_plain *plain);
void keyring_free(struct keyring *k);
/* Reads the directory again when it or a file in it has changed. Any thread. */
void keyring_refresh(struct keyring *k);
size_t keyring_count(struct keyring *k);
/* Refuses a key from now on, until this bus starts again: it does what no well-meaning program
 * does. Any thread. */
void keyring_ban(struct keyring *k, const char *z85);

enum keyring_answer { KEYRING_REFUSED, KEYRING_ADMITTED, KEYRING_UNKNOWN_YET };
/* For the ZAP handler. UNKNOWN_YET: the directory has not been read; ask again. */
enum keyring_answer keyring_admits(struct keyring *k, const char *z85);

/* --- identities ----------------------------------------------------------------------------- */

#define IDENTITY_SCOPE_BUS_READ "bus.read"
/* Of a key without a tenant: it reads the events of all. */
#define IDENTITY_SCOPE_EVENTS_ALL "events.all"

struct identity {
    enum identity_kind kind;
    bool may_serve;        /* register workers, send WAKE */
    const char *serves;    /* with services that begin so only; NULL: with all; static */
    bool brings;           /* its CallContext may name another principal */
    bool brings_system;    /* even one of kind SYSTEM */
    bool hears_all;        /* every subscription */
    bool hears_own;        /* the subscriptions of its tenant: whom ReadEvents would answer */
    bool reads_bus;        /* has the scope bus.read: state of the bus, though it has a tenant */
    struct id tenant;      /* nil: none */
    int64_t expires_at_us; /* wall clock; INT64_MAX = never */
    /* Field 2 of CallContext, packed with its tag: the principal when none is brought. */
    const uint8_t *principal;
    size_t principal_len;
};

struct known;

struct identity_cache {
    struct keyring *keyring;
    struct hmap known;
    struct known *spare; /* without memory nobody is told that his key is not registered */
    uint64_t generation;
    int64_t directory_revision;
};

NODISCARD bool identity_cache_init(struct identity_cache *c, struct keyring *k);
void identity_cache_fini(struct identity_cache *c);
/*
 * Forgets everything when keys have changed, true then; to be called once a turn of the loop.
 */
bool identity_cache_refresh(struct identity_cache *c);
/* user: the User-Id, NULL for inproc. Never NULL; kind NONE: refuse. Valid until the next call of it or
 * of identity_cache_refresh(). */
const struct identity *identity_of(struct identity_cache *c, const char *user);

#endif
