/*
 * identity.c - from a User-Id to rights and a packed principal.
 */
#include "services/bus/identity.h"

#include "common/call.h"
#include "common/clock.h"
#include "common/directory.h"
#include "services/bus/keyring.h"

#define CACHE_MAX 8192
#define USER_MAX 64
#define SCOPES_MAX 64
#define PRINCIPAL_FIELD 0x12 /* field 2, length-delimited */
#define SPARE_PRINCIPAL 4096

struct known {
    struct hnode node;
    struct identity identity;
    char user[USER_MAX];
    uint8_t principal[];
};

/* What a principal is made of, before it is packed. */
struct draft {
    struct identity identity;
    int actor_kind;
    struct id actor;
    const char *roles[DIR_ROLES_MAX];
    const char *scopes[SCOPES_MAX];
    size_t nroles, nscopes;
    char scopes_text[1024]; /* plain: cut up */
};

#define SCOPE_EVENTS_READ "events.read"
#define ROLE_EVENTS_READ "general_manager"

/* --- rights --------------------------------------------------------------------------------- */

static void as_daemon(struct draft *d, enum identity_kind kind)
{
    d->identity.kind = kind;
    d->identity.may_serve = kind != IDENTITY_SYSTEM;
    d->identity.brings = d->identity.brings_system = d->identity.hears_all = true;
    d->actor_kind = DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_SYSTEM;
}

static void add_scope(struct draft *d, const char *scope)
{
    if (d->nscopes < SCOPES_MAX)
        d->scopes[d->nscopes++] = scope;
    if (strcmp(scope, IDENTITY_SCOPE_BUS_READ) == 0)
        d->identity.reads_bus = true;
}

/* It speaks for whom it has proven, and for itself: then it may read the log, for its webhooks, and
 * nothing else. It faces the outside, so what it serves is its own. */
static void as_edge(struct draft *d)
{
    d->identity.kind = IDENTITY_EDGE;
    d->identity.brings = true;
    d->identity.hears_all = true; /* what it may read for others */
    d->identity.may_serve = true;
    d->identity.serves = "daybook.gateway.";
    d->actor_kind = DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_SERVICE;
    add_scope(d, SCOPE_EVENTS_READ);
    add_scope(d, IDENTITY_SCOPE_EVENTS_ALL);
}

/* Roles come from the directory, for an employee who is active; false: there is no such one. */
static bool as_employee(struct draft *d, const struct directory *dir)
{
    const struct dir_employee *e = directory_employee(dir, d->identity.tenant, d->actor);
    if (!e || !e->active)
        return false;
    d->actor_kind = DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_EMPLOYEE;
    while (d->nroles < DIR_ROLES_MAX && e->roles[d->nroles]) {
        d->roles[d->nroles] = e->roles[d->nroles];
        d->nroles++;
    }
    return true;
}

static void from_directory(struct draft *d, const struct directory *dir, const char *user)
{
    const struct dir_key *key = dir ? directory_key(dir, user) : NULL;
    if (!key)
        return;
    d->identity.tenant = key->tenant;
    d->actor = key->actor;
    d->actor_kind = DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_SERVICE;
    if (key->is_employee && !as_employee(d, dir))
        return;
    for (size_t i = 0; key->scopes && key->scopes[i]; i++)
        add_scope(d, key->scopes[i]);
    d->identity.kind = IDENTITY_ACTOR;
    if (key->expires_at_us)
        d->identity.expires_at_us = key->expires_at_us;
}

static void split_scopes(struct draft *d, const char *text)
{
    snprintf(d->scopes_text, sizeof(d->scopes_text), "%s", text);
    char *rest = d->scopes_text;
    for (char *one; (one = strsep(&rest, ", "));)
        if (one[0])
            add_scope(d, one);
}

static void from_plain(struct draft *d, const struct directory *dir,
                       const struct identity_plain *plain)
{
    if (!plain->offered)
        return;
    if (plain->serves)
        as_daemon(d, IDENTITY_PLAIN);
    d->identity.kind = IDENTITY_PLAIN;
    d->identity.tenant = plain->tenant;
    d->actor = plain->actor;
    if (plain->serves && id_is_nil(plain->tenant))
        return;
    if (!dir || !as_employee(d, dir))
        d->actor_kind = DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_SERVICE;
    split_scopes(d, plain->scopes);
}

static bool lists(const char *const *names, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

/* The log is not told to whom ReadEvents would not tell it (event_service.c): service accounts by
 * scope, people by role and, where their key has scopes, by scope too. */
static bool hears_own(const struct draft *d)
{
    bool scoped = lists(d->scopes, d->nscopes, SCOPE_EVENTS_READ);
    if (id_is_nil(d->identity.tenant))
        return false;
    if (d->actor_kind != DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_EMPLOYEE)
        return scoped;
    return (scoped || d->nscopes == 0) && lists(d->roles, d->nroles, ROLE_EVENTS_READ);
}

static void resolve(struct draft *d, struct keyring *k, const struct directory *dir,
                    const char *user)
{
    if (!user) {
        as_daemon(d, IDENTITY_SELF);
        return;
    }
    if (strcmp(user, IDENTITY_USER_PLAIN) == 0) {
        from_plain(d, dir, keyring_plain(k));
        return;
    }
    if (keyring_is_banned(k, user))
        return;
    enum identity_kind kind = keyring_kind(k, user);
    if (kind == IDENTITY_EDGE)
        as_edge(d);
    else if (kind != IDENTITY_NONE)
        as_daemon(d, kind);
    else
        from_directory(d, dir, user);
}

/* --- the packed principal ------------------------------------------------------------------- */

static void fill_principal(PbPrincipal *p, struct draft *d, char tenant[static ID_TEXT_MAX],
                           char actor[static ID_TEXT_MAX], char **roles, char **scopes)
{
    daybook__common__v1__principal__init(p);
    if (!id_is_nil(d->identity.tenant))
        p->tenant_id = id_text(d->identity.tenant, tenant);
    if (!id_is_nil(d->actor))
        p->actor_id = id_text(d->actor, actor);
    p->kind = d->actor_kind;
    for (size_t i = 0; i < d->nroles; i++)
        memcpy(&roles[i], &d->roles[i], sizeof(roles[i])); /* protobuf-c has no const */
    for (size_t i = 0; i < d->nscopes; i++)
        memcpy(&scopes[i], &d->scopes[i], sizeof(scopes[i]));
    p->roles = roles;
    p->n_roles = d->nroles;
    p->scopes = scopes;
    p->n_scopes = d->nscopes;
}

/* Without memory in the spare place; NULL: too large for that. */
static struct known *known_make(struct draft *d, const char *user, struct known *spare)
{
    char tenant[ID_TEXT_MAX], actor[ID_TEXT_MAX], *roles[DIR_ROLES_MAX], *scopes[SCOPES_MAX];
    PbPrincipal p;
    fill_principal(&p, d, tenant, actor, roles, scopes);
    size_t len = daybook__common__v1__principal__get_packed_size(&p);

    struct known *k = malloc(sizeof(*k) + len + 11);
    if (!k && len + 11 <= SPARE_PRINCIPAL)
        k = spare;
    if (!k)
        return NULL;
    k->identity = d->identity;
    snprintf(k->user, sizeof(k->user), "%s", user ? user : "");
    size_t n = 0;
    k->principal[n++] = PRINCIPAL_FIELD;
    n += wire_put_varint(k->principal + n, len);
    n += daybook__common__v1__principal__pack(&p, k->principal + n);
    k->identity.principal = k->principal;
    k->identity.principal_len = n;
    return k;
}

/* --- the cache ------------------------------------------------------------------------------ */

static void forget(struct identity_cache *c)
{
    for (struct hnode *n = hmap_next(&c->known, NULL), *next; n; n = next) {
        next = hmap_next(&c->known, n);
        hmap_remove(&c->known, n);
        free(HMAP_OWNER(n, struct known, node));
    }
}

bool identity_cache_init(struct identity_cache *c, struct keyring *k)
{
    *c = (struct identity_cache){ .keyring = k,
                                  .spare = malloc(sizeof(*c->spare) + SPARE_PRINCIPAL) };
    return hmap_init(&c->known) && c->spare;
}

void identity_cache_fini(struct identity_cache *c)
{
    if (c->known.buckets)
        forget(c);
    hmap_fini(&c->known);
    free(c->spare);
}

bool identity_cache_refresh(struct identity_cache *c)
{
    CLEANUP(directory_releasep) const struct directory *dir = directory_acquire();
    int64_t revision = dir ? directory_revision(dir) : -1;
    uint64_t generation = keyring_generation(c->keyring);
    bool changed = revision != c->directory_revision || generation != c->generation;
    if (!changed && c->known.count < CACHE_MAX)
        return false;
    forget(c);
    c->directory_revision = revision;
    c->generation = generation;
    return changed;
}

static const struct identity nobody = { .kind = IDENTITY_NONE, .expires_at_us = INT64_MAX };

static const struct identity *learn(struct identity_cache *c, const char *user)
{
    CLEANUP(directory_releasep) const struct directory *dir = directory_acquire();
    struct draft d = { .identity = { .expires_at_us = INT64_MAX } };
    resolve(&d, c->keyring, dir, user);
    d.identity.hears_own = hears_own(&d);
    struct known *k = known_make(&d, user, c->spare);
    if (!k)
        return &nobody;
    if (k != c->spare)
        hmap_insert(&c->known, &k->node, k->user, strlen(k->user));
    return &k->identity;
}

const struct identity *identity_of(struct identity_cache *c, const char *user)
{
    size_t len = user ? strlen(user) : 0;
    if ((user && len == 0) || len >= USER_MAX)
        return &nobody; /* an empty User-Id is not ours, and "" is the place of inproc in the map */
    struct hnode *n = hmap_find(&c->known, user ? user : "", len);
    const struct identity *i = n ? &HMAP_OWNER(n, struct known, node)->identity : learn(c, user);
    if (i->expires_at_us != INT64_MAX && i->expires_at_us <= clock_wall_us())
        return &nobody;
    return i;
}
